-- End the lease of a connection, if it is held.
--
-- KEYS[1]  the leases of one client: a sorted set of connections, scored by the server's time when each ends
-- ARGV[1]  the connection
--
-- Returns how many leases are held by now.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREM', KEYS[1], ARGV[1])
return redis.call('ZCOUNT', KEYS[1], '(' .. string.format('%d', now), '+inf')
