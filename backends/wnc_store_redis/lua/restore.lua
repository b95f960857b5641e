-- Put a room and its chat back as they were.
--
-- KEYS[1]   the room: a string, JSON
-- KEYS[2]   the index of active rooms: a set
-- KEYS[3]   the room's chat: a list of JSON, oldest first
-- ARGV[1]   the room's bytes
-- ARGV[2]   TTL of the room in milliseconds
-- ARGV[3]   the room's id
-- ARGV[4]   "1" if a room that is there is replaced, else ""
-- ARGV[5]   TTL of the chat in milliseconds
-- ARGV[6..8]  PUBLISH, the channel of the room's events, and the event to publish, or "" if it is not to be told
-- ARGV[9..] the entries of the chat
--
-- Returns 1 when stored; 0 when there is a room, and nothing was written.
-- An error does not undo what a script has written: so the first write is the one that fails where the index is no set.

if ARGV[4] == '' and redis.call('EXISTS', KEYS[1]) == 1 then
  return 0
end

-- The index lives as long as the room that lives longest, and for ever if it has no end.
local left = redis.call('PTTL', KEYS[2])
redis.call('SADD', KEYS[2], ARGV[3])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
if left == -2 or (left >= 0 and left < tonumber(ARGV[2])) then
  redis.call('PEXPIRE', KEYS[2], ARGV[2])
end
redis.call('DEL', KEYS[3])
for i = 9, #ARGV do
  redis.call('RPUSH', KEYS[3], ARGV[i])
end
if #ARGV > 8 then
  redis.call('PEXPIRE', KEYS[3], ARGV[5])
end
if ARGV[6] ~= '' then
  redis.call(ARGV[6], ARGV[7], ARGV[8])
end
return 1
