-- Count the leases that are held. Changes nothing.
--
-- KEYS[1]  the leases of one client: a sorted set of connections, scored by the server's time when each ends
--
-- Returns how many there are.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
return redis.call('ZCOUNT', KEYS[1], '(' .. string.format('%d', now), '+inf')
