-- Delete a chat.
--
-- KEYS[1]  the chat
-- ARGV[1], ARGV[2]  only where that is to be told: the channel of the room's events, and the event to publish
--
-- Returns 1 if there was a chat, else 0.

local removed = redis.call('DEL', KEYS[1])
if removed == 1 and ARGV[1] then
  redis.call('PUBLISH', ARGV[1], ARGV[2])
end
return removed
