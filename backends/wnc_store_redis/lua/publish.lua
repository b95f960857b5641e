-- Publish an event on a cluster, at the master that has the slot: a replica takes SPUBLISH by itself, too, and readers at
-- the master may never hear of that; but it takes no script with a key.
--
-- KEYS[1]  the key in whose slot the channel is
-- ARGV[1]  the channel
-- ARGV[2]  the event
--
-- Returns how many have got it here.

-- Redis has SPUBLISH from 7.0 on, and acl_check_cmd, too.
if not redis.acl_check_cmd('SPUBLISH', ARGV[1], '') then
  return redis.error_reply('NOPERM this user may not publish by SPUBLISH')
end
return redis.call('SPUBLISH', ARGV[1], ARGV[2])
