-- Delete a room, its index entry and its chat. The value of the room is not read.
--
-- KEYS[1]  the room
-- KEYS[2]  the index of active rooms: a set
-- KEYS[3]  the chat of the room
-- ARGV[1]  the id of the room
-- ARGV[2..4]  only if an event is published: PUBLISH or SPUBLISH; the channel; the event
--
-- Returns 1 if there was a room, else 0.
-- An error in a script does not undo its earlier writes, so the first write is the one that fails if the index is not a
-- set.

redis.call('SREM', KEYS[2], ARGV[1])
local removed = redis.call('DEL', KEYS[1])
redis.call('DEL', KEYS[3])
if removed == 1 and ARGV[2] then
  redis.call(ARGV[2], ARGV[3], ARGV[4])
end
return removed
