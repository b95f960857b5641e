-- Restore a room and its chat.
--
-- newest_first  a local boolean: whether the list of the chat begins with the newest entry
--
-- KEYS[1]   the room: a string of JSON
-- KEYS[2]   the index of active rooms: a set
-- KEYS[3]   the chat of the room: a list of JSON
-- ARGV[1]   the bytes of the room
-- ARGV[2]   TTL of the room in milliseconds
-- ARGV[3]   minimum TTL of the index in milliseconds
-- ARGV[4]   the id of the room
-- ARGV[5]   "1" to replace an existing room, else ""
-- ARGV[6]   TTL of the chat in milliseconds
-- ARGV[7..9]  PUBLISH or SPUBLISH, the channel and the event, or "" for each if no event is published
-- ARGV[10..] the entries of the chat, oldest first
--
-- Returns 1 if the room was stored. Returns 0 if the room exists; nothing was written then.
-- An error in a script does not undo its earlier writes, so the first write is the one that fails if the index is not a
-- set.

if ARGV[5] == '' and redis.call('EXISTS', KEYS[1]) == 1 then
  return 0
end

-- The index must not expire before any of its rooms. An index without a TTL stays without one.
local ttl = redis.call('PTTL', KEYS[2])
redis.call('SADD', KEYS[2], ARGV[4])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
if ttl == -2 or (ttl >= 0 and ttl < tonumber(ARGV[3])) then
  redis.call('PEXPIRE', KEYS[2], ARGV[3])
end
-- Trim an existing list instead of deleting it: in a slot that migrates, Redis refuses writes to a missing key.
local size = #ARGV - 9
if size == 0 or redis.pcall('LRANGE', KEYS[3], 0, 0).err then
  redis.call('DEL', KEYS[3])
end
for i = 10, #ARGV do
  redis.call(newest_first and 'LPUSH' or 'RPUSH', KEYS[3], ARGV[i])
end
if size > 0 then
  redis.call('LTRIM', KEYS[3], newest_first and 0 or -size, newest_first and size - 1 or -1)
  redis.call('PEXPIRE', KEYS[3], ARGV[6])
end
if ARGV[7] ~= '' then
  redis.call(ARGV[7], ARGV[8], ARGV[9])
end
return 1
