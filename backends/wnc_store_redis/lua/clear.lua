-- Delete a chat.
--
-- KEYS[1]  the chat
-- ARGV[1..3]  only where that is to be told: PUBLISH, or on a cluster SPUBLISH; the channel of the chat's events; the
--          event to publish
--
-- Returns 1 if there was a chat, else 0.

-- Before anything is written: Redis has SPUBLISH from 7.0 on, and acl_check_cmd, too.
if ARGV[1] == 'SPUBLISH' and not redis.acl_check_cmd(ARGV[1], ARGV[2], '') then
  return redis.error_reply('NOPERM this user may not publish by SPUBLISH')
end

local removed = redis.call('DEL', KEYS[1])
if removed == 1 and ARGV[1] then
  redis.call(ARGV[1], ARGV[2], ARGV[3])
end
return removed
