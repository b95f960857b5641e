-- Begin or renew the lease of a connection.
--
-- KEYS[1]  the leases of one client: a sorted set of connections, scored by the server's time when each ends
-- ARGV[1]  the connection
-- ARGV[2]  how long a lease lasts, in milliseconds
-- ARGV[3]  how many may be held, or "" for any number
--
-- Returns {1, the number of leases held} when this one is; {0, that number} when it was refused and nothing changed.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local renewed = redis.call('ZSCORE', KEYS[1], ARGV[1])
if renewed and tonumber(renewed) <= now then
  renewed = false
end
local held = redis.call('ZCOUNT', KEYS[1], '(' .. string.format('%d', now), '+inf')
if not renewed and ARGV[3] ~= '' and held >= tonumber(ARGV[3]) then
  return {0, held}
end

redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%d', now))
redis.call('ZADD', KEYS[1], string.format('%d', now + ARGV[2]), ARGV[1])
-- The key lives as long as its longest lease, which may be that of a process with other settings.
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return {1, renewed and held or held + 1}
