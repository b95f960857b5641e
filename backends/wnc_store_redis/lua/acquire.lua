-- Acquire or renew the lease of a connection.
--
-- `now` is the time in epoch milliseconds, from prelude.lua.
--
-- KEYS[1]  the leases of one client: a sorted set of connection ids, scored by expiry in epoch milliseconds
-- ARGV[1]  the connection id
-- ARGV[2]  TTL of this lease in milliseconds
-- ARGV[3]  the maximum number of leases, or "" for no limit
--
-- Returns {1, the number of leases} if the lease was acquired or renewed. Returns {0, the number of leases} if the limit
-- is reached; nothing was changed then.

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
-- The key must not expire before its longest lease, which may have a longer TTL than this one.
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return {1, renewed and held or held + 1}
