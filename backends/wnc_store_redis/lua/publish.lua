-- Publish an event. On a cluster, the script runs at the master that owns the slot. A replica would accept a plain
-- SPUBLISH, which subscribers at the master may never receive. A replica does not accept a script with a key.
--
-- KEYS[1]  a key in the slot of the channel
-- ARGV[1]  PUBLISH or SPUBLISH
-- ARGV[2]  the channel
-- ARGV[3]  the event
--
-- Returns the number of subscribers of this server that received the event.

return redis.call(ARGV[1], ARGV[2], ARGV[3])
