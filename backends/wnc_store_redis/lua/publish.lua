-- Publish an event on a cluster, at the master that owns the slot. A replica would accept a plain SPUBLISH, which
-- subscribers at the master may never receive. A replica does not accept a script with a key.
--
-- KEYS[1]  a key in the slot of the channel
-- ARGV[1]  the channel
-- ARGV[2]  the event
--
-- Returns the number of subscribers of this server that received the event.

-- Redis has SPUBLISH and acl_check_cmd since version 7.0.
if not redis.acl_check_cmd('SPUBLISH', ARGV[1], '') then
  return redis.error_reply('NOPERM this user cannot run SPUBLISH')
end
return redis.call('SPUBLISH', ARGV[1], ARGV[2])
