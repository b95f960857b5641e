-- Delete a chat.
--
-- KEYS[1]  the chat
-- ARGV[1..3]  only if an event is published: PUBLISH or SPUBLISH; the channel; the event
--
-- Returns 1 if there was a chat, else 0.

-- Check before the first write. Redis has SPUBLISH and acl_check_cmd since version 7.0.
if ARGV[1] == 'SPUBLISH' and not redis.acl_check_cmd(ARGV[1], ARGV[2], '') then
  return redis.error_reply('NOPERM this user cannot run SPUBLISH')
end

local removed = redis.call('DEL', KEYS[1])
if removed == 1 and ARGV[1] then
  redis.call(ARGV[1], ARGV[2], ARGV[3])
end
return removed
