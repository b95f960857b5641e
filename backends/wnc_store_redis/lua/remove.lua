-- Delete a room, whatever it holds, with its entry in the index and its chat.
--
-- KEYS[1]  the room
-- KEYS[2]  the index of active rooms: a set; left out, with the chat, where keys lie on several servers
-- KEYS[3]  the room's chat
-- ARGV[1]  the room's id
-- ARGV[2], ARGV[3]  only where the deletion is to be told: the channel of the room's events, and the event to publish
--
-- Returns 1 if there was a room, else 0.
-- An error does not undo what a script has written: so the first write is the one that fails where the index is no set.

if KEYS[2] then
  redis.call('SREM', KEYS[2], ARGV[1])
end
local removed = redis.call('DEL', KEYS[1])
if KEYS[3] then
  redis.call('DEL', KEYS[3])
end
if removed == 1 and ARGV[2] then
  redis.call('PUBLISH', ARGV[2], ARGV[3])
end
return removed
