-- Delete a chat.
--
-- KEYS[1]  the chat
-- ARGV[1..3]  only if an event is published: PUBLISH or SPUBLISH; the channel; the event
--
-- Returns 1 if there was a chat, else 0.

local removed = redis.call('DEL', KEYS[1])
if removed == 1 and ARGV[1] then
  redis.call(ARGV[1], ARGV[2], ARGV[3])
end
return removed
