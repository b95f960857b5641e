-- Release the lease of a connection, if it exists.
--
-- `now` is the time in epoch milliseconds, from prelude.lua.
--
-- KEYS[1]  the leases of one client: a sorted set of connection ids, scored by expiry in epoch milliseconds
-- ARGV[1]  the connection id
--
-- Returns the number of leases that remain.

redis.call('ZREM', KEYS[1], ARGV[1])
return redis.call('ZCOUNT', KEYS[1], '(' .. string.format('%d', now), '+inf')
