-- Compare-and-set of a room and its index entry. Creating or deleting the room also deletes its chat.
--
-- KEYS[1]  the room: a string of JSON
-- KEYS[2]  the index of active rooms: a set
-- KEYS[3]  the chat of the room; only if the room is created or deleted, or if an update sets the TTL of the chat
-- ARGV[1]  the expected bytes of the room, or "" if the room must not exist
-- ARGV[2]  the bytes to store, or "" to delete the room
-- ARGV[3]  TTL of the room in milliseconds
-- ARGV[4]  minimum TTL of the index in milliseconds
-- ARGV[5]  the id of the room
-- ARGV[6]  TTL of the chat in milliseconds that an update sets, or "" to leave it unchanged
-- ARGV[7..]  only if events are published: PUBLISH or SPUBLISH; the channel; the events in order
--
-- Returns 1 if the room was committed. Otherwise returns {0, the stored bytes or false}; nothing was changed then.
-- An error in a script does not undo its earlier writes, so the first write is the one that fails if the index is not a
-- set.

local function publish()
  for i = 9, #ARGV do
    redis.call(ARGV[7], ARGV[8], ARGV[i])
  end
end

local stored = redis.call('GET', KEYS[1])
if stored ~= (ARGV[1] ~= '' and ARGV[1]) then
  -- An earlier attempt of this commit may have succeeded over a connection that was lost since. Write without an effect:
  -- on Redis 8, WAIT covers only writes of the same connection.
  if stored and stored == ARGV[2] then
    redis.call('SET', KEYS[1], stored, 'PX', ARGV[3])
  elseif not stored and ARGV[2] == '' then
    redis.call('SADD', KEYS[2], ARGV[5])
    redis.call('SREM', KEYS[2], ARGV[5])
  end
  return {0, stored}
end

if ARGV[2] == '' then
  redis.call('SREM', KEYS[2], ARGV[5])
  redis.call('DEL', KEYS[1], KEYS[3])
  publish()
  return 1
end

-- The index must not expire before any of its rooms. An index without a TTL stays without one.
local ttl = redis.call('PTTL', KEYS[2])
redis.call('SADD', KEYS[2], ARGV[5])
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
if ttl == -2 or (ttl >= 0 and ttl < tonumber(ARGV[4])) then
  redis.call('PEXPIRE', KEYS[2], ARGV[4])
end
if ARGV[1] == '' then
  redis.call('DEL', KEYS[3])
elseif ARGV[6] ~= '' then
  redis.call('PEXPIRE', KEYS[3], ARGV[6])
end
publish()
return 1
