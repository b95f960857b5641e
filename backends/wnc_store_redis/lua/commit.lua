-- Compare-and-commit: one room, its entry in the index, and its chat when the room begins or ends.
--
-- KEYS[1]  the room: a string, JSON
-- KEYS[2]  the index of active rooms: a set; left out, with the chat, where keys lie on several servers
-- KEYS[3]  the room's chat
-- ARGV[1]  the bytes that the room must hold, or "" if there must be no room
-- ARGV[2]  the bytes to store, or "" to delete room, entry and chat
-- ARGV[3]  TTL of the room in milliseconds
-- ARGV[4]  the room's id
-- ARGV[5]  only where the commit is to be told: PUBLISH, or on a cluster SPUBLISH
-- ARGV[6]  the channel of the room's events
-- ARGV[7..]  the events to publish, in order
--
-- Returns 1 when committed; else {0, the stored bytes or false} and nothing was changed.
-- An error does not undo what a script has written: so the first write is the one that fails where the index is no set.

local function publish()
  for i = 7, #ARGV do
    redis.call(ARGV[5], ARGV[6], ARGV[i])
  end
end

local stored = redis.call('GET', KEYS[1])
if stored ~= (ARGV[1] ~= '' and ARGV[1]) then
  -- An attempt before may have been this commit, over a connection that was lost. Something is written all the same: on
  -- Redis 8, WAIT follows only what its own connection has written, and would not tell who has that attempt.
  if stored and stored == ARGV[2] then
    redis.call('SET', KEYS[1], stored, 'PX', ARGV[3])
  elseif not stored and ARGV[2] == '' then
    local set = KEYS[2] or KEYS[1]
    redis.call('SADD', set, ARGV[4])
    redis.call('SREM', set, ARGV[4])
  end
  return {0, stored}
end

if not KEYS[2] then
  -- Before anything is written: Redis has SPUBLISH from 7.0 on, and acl_check_cmd, too.
  if ARGV[5] == 'SPUBLISH' and not redis.acl_check_cmd(ARGV[5], ARGV[6], '') then
    return redis.error_reply('NOPERM this user may not publish by SPUBLISH')
  end
  if ARGV[2] == '' then
    redis.call('DEL', KEYS[1])
  else
    redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
  end
  publish()
  return 1
end

if ARGV[2] == '' then
  redis.call('SREM', KEYS[2], ARGV[4])
  redis.call('DEL', KEYS[1], KEYS[3])
  publish()
  return 1
end

-- The index lives as long as the room that lives longest, which may be another writer's, and for ever if it has no end.
local left = redis.call('PTTL', KEYS[2])
redis.call('SADD', KEYS[2], ARGV[4])
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
if left == -2 or (left >= 0 and left < tonumber(ARGV[3])) then
  redis.call('PEXPIRE', KEYS[2], ARGV[3])
end
if ARGV[1] == '' then
  redis.call('DEL', KEYS[3])
end
publish()
return 1
