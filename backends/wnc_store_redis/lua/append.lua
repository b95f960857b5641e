-- Append a chat message unless its id is already among the kept ones that can be read.
--
-- KEYS[1]  the chat: a list of JSON, oldest first
-- ARGV[1]  the message's bytes
-- ARGV[2]  the message's id: of A-Z a-z 0-9 _ - . : only, so JSON spells it in one way
-- ARGV[3]  how many messages are kept
-- ARGV[4]  TTL of the chat in milliseconds
-- ARGV[5]  the chat's newest entry, if the caller knows that no kept message has the id as long as it is that; else ""
-- ARGV[6]  in a repetition, when an attempt before may have appended the message: the id of a message that was among
--          the kept ones before that attempt, or "?" if none is known; else ""
-- ARGV[7..9]  only where it is to be told: PUBLISH, or on a cluster SPUBLISH; the channel of the chat's events; the
--          event to publish
--
-- Returns how many are kept by now when it was appended after ARGV[5], or {as many, the newest entry before or ""} after
-- another; 0 when the id was there and nothing was changed; -1 when nothing was written because an attempt before may have
-- appended the message, and others may have pushed it out or cleared the chat since. As long as an older message is kept,
-- neither has happened.

-- cjson stops at the lone surrogates that JavaScript leaves in texts, so escapes are blanked out before it reads. The
-- entry itself is never written back. What has not the fields of a message is nobody's repetition.
local function id_of(entry)
  local plain = entry:gsub('\\\\', ''):gsub('\\u%x%x%x%x', '?')
  local ok, message = pcall(cjson.decode, plain)
  if not ok or type(message) ~= 'table' then
    return nil
  end
  for _, field in ipairs({'roomId', 'userId', 'userName', 'message'}) do
    if type(message[field]) ~= 'string' then
      return nil
    end
  end
  return message.id
end

local newest = redis.call('LINDEX', KEYS[1], -1) or ''
local is_known = newest ~= '' and newest == ARGV[5]

if not is_known then
  local kept = redis.call('LRANGE', KEYS[1], -tonumber(ARGV[3]), -1)

  local function is_kept(id)
    local quoted = '"' .. id .. '"'
    for _, entry in ipairs(kept) do
      if entry:find(quoted, 1, true) and id_of(entry) == id then
        return true
      end
    end
    return false
  end

  if is_kept(ARGV[2]) then
    -- A write that changes nothing: on Redis 8, WAIT follows only what its own connection has written, and would not tell
    -- which replicas have an attempt before, over a connection that was lost.
    local left = redis.call('PTTL', KEYS[1])
    if left > 0 then
      redis.call('PEXPIRE', KEYS[1], left)
    end
    return 0
  end
  if ARGV[6] ~= '' and not is_kept(ARGV[6]) then
    return -1
  end
end

-- Before anything is written: Redis has SPUBLISH from 7.0 on, and acl_check_cmd, too.
if ARGV[7] == 'SPUBLISH' and not redis.acl_check_cmd(ARGV[7], ARGV[8], '') then
  return redis.error_reply('NOPERM this user may not publish by SPUBLISH')
end

local count = math.min(redis.call('RPUSH', KEYS[1], ARGV[1]), tonumber(ARGV[3]))
redis.call('LTRIM', KEYS[1], -tonumber(ARGV[3]), -1)
redis.call('PEXPIRE', KEYS[1], ARGV[4])
if ARGV[7] then
  redis.call(ARGV[7], ARGV[8], ARGV[9])
end
return is_known and count or {count, newest}
