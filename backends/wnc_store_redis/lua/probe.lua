-- Run every command of the store on keys that no operation uses, to find those that the server denies or does not know.
--
-- KEYS[1..4]  a room, its chat, the leases of a client and a count; no operation uses these ids. Each key has a TTL from
--             its first moment, and is deleted at the end.
-- KEYS[5]     the index of active rooms, which is not changed
-- ARGV[1..3]  PUBLISH or SPUBLISH; the commands to subscribe and unsubscribe
-- ARGV[4]     the channel of the room
-- ARGV[5]     RPUSH or LPUSH
--
-- Returns {command, error, command, error, ..}, empty if all commands work.

local failures = {}

local function run(...)
  local reply = redis.pcall(...)
  local problem = type(reply) == 'table' and reply.err and tostring(reply.err)  -- fakeredis returns no Lua string
  if problem and not problem:find('WRONGTYPE', 1, true) then
    table.insert(failures, (select(1, ...)))
    table.insert(failures, problem)
    return false
  end
  return true
end

-- Commands that cannot run here are checked only on Redis 7.0 and newer, which has acl_check_cmd.
local function check(command, ...)
  if redis.acl_check_cmd then
    local container, subcommand = command:match('(.+)|(.+)')
    local exists, is_allowed
    if container then
      exists, is_allowed = pcall(redis.acl_check_cmd, container, subcommand, ...)
    else
      exists, is_allowed = pcall(redis.acl_check_cmd, command, ...)
    end
    if not (exists and is_allowed) then
      table.insert(failures, command)
      table.insert(failures, exists and 'NOPERM' or 'Unknown Redis command')
    end
  end
end

-- First, because a server whose memory is full rejects only the first write of a script.
-- The commands that create keys run on a string that has a TTL. Except for INCRBY they fail with WRONGTYPE.
for i, command in ipairs({{'SADD', '1'}, {ARGV[5], '1'}, {'ZADD', '1', '1'}, {'INCRBY', '1'}}) do
  if run('SET', KEYS[i], '1', 'PX', '1000') then
    run('PEXPIRE', KEYS[i], '1000')
    run(command[1], KEYS[i], unpack(command, 2))
    if i == 2 then
      run('LSET', KEYS[i], '0', '1')  -- fails on a missing key
    end
  end
  run('DEL', KEYS[i])
end

run('TIME')
run('EXISTS', KEYS[1])
run('GET', KEYS[1])
run('PTTL', KEYS[5])
run('SSCAN', KEYS[5], '0')
run('SREM', KEYS[5], KEYS[1])
run('LINDEX', KEYS[2], '-1')
run('LRANGE', KEYS[2], '0', '-1')
run('LTRIM', KEYS[2], '0', '-1')
run('LREM', KEYS[2], '0', '1')
run('ZSCORE', KEYS[3], '1')
run('ZCOUNT', KEYS[3], '1', '2')
run('ZREM', KEYS[3], '1')
run('ZREMRANGEBYSCORE', KEYS[3], '1', '2')

check('SADD', KEYS[5], '1')
check('PEXPIRE', KEYS[5], '1')
check('CLIENT|INFO')
check('CLIENT|KILL', 'ID', '1')
check('EVAL', '', '0')
check('EVALSHA', '', '0')
run(ARGV[1], ARGV[4], '')
check(ARGV[2], ARGV[4])
check(ARGV[3], ARGV[4])
return failures
