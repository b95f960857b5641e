-- Count the leases of a client. Read-only.
--
-- KEYS[1]  the leases of one client: a sorted set of connection ids, scored by expiry in epoch milliseconds
--
-- Returns the number of leases that have not expired.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
return redis.call('ZCOUNT', KEYS[1], '(' .. string.format('%d', now), '+inf')
