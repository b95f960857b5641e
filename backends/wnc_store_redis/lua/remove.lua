-- Delete a room, whatever it holds, with its entry in the index and its chat.
--
-- KEYS[1]  the room
-- KEYS[2]  the index of active rooms: a set; left out, with the chat, where keys lie on several servers
-- KEYS[3]  the room's chat
-- ARGV[1]  the room's id
-- ARGV[2..4]  only where the deletion is to be told: PUBLISH, or on a cluster SPUBLISH; the channel of the room's
--          events; the event to publish
--
-- Returns 1 if there was a room, else 0.
-- An error does not undo what a script has written: so the first write is the one that fails where the index is no set.

-- Before anything is written: Redis has SPUBLISH from 7.0 on, and acl_check_cmd, too.
if ARGV[2] == 'SPUBLISH' and not redis.acl_check_cmd(ARGV[2], ARGV[3], '') then
  return redis.error_reply('NOPERM this user may not publish by SPUBLISH')
end

if KEYS[2] then
  redis.call('SREM', KEYS[2], ARGV[1])
end
local removed = redis.call('DEL', KEYS[1])
if KEYS[3] then
  redis.call('DEL', KEYS[3])
end
if removed == 1 and ARGV[2] then
  redis.call(ARGV[2], ARGV[3], ARGV[4])
end
return removed
