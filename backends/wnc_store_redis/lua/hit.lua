-- Count a hit in a fixed window. The Node app has a script that counts on the same key.
--
-- KEYS[1]  the count: a string, a decimal integer; its TTL is the remaining time of the window
-- ARGV[1]  the cost of the hit
-- ARGV[2]  the length of a window in milliseconds
--
-- Returns {the count, the remaining time of the window in milliseconds}.

local stored = redis.call('GET', KEYS[1])
if not stored then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  return {tonumber(ARGV[1]), tonumber(ARGV[2])}
end
if not (stored == '0' or stored:match('^[1-9]%d*$')) or #stored > 15 then
  return redis.error_reply('WRONGTYPE the value is not a count')
end

local ttl = redis.call('PTTL', KEYS[1])
if ttl < 0 then  -- another writer set the count without a TTL
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  ttl = tonumber(ARGV[2])
end
return {redis.call('INCRBY', KEYS[1], ARGV[1]), ttl}
