-- Count a hit in a fixed window, together with the Node app's own script on the same key.
--
-- KEYS[1]  the count: a string, a plain integer, whose TTL is what is left of the window
-- ARGV[1]  how many hits this one counts for
-- ARGV[2]  how long a window is, in milliseconds
--
-- Returns {the count, what is left of the window in milliseconds}.

local stored = redis.call('GET', KEYS[1])
if not stored then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  return {tonumber(ARGV[1]), tonumber(ARGV[2])}
end
if not (stored == '0' or stored:match('^[1-9]%d*$')) or #stored > 15 then
  return redis.error_reply('WRONGTYPE the key holds no count')
end

local left = redis.call('PTTL', KEYS[1])
if left < 0 then  -- somebody left it without an end
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  left = tonumber(ARGV[2])
end
return {redis.call('INCRBY', KEYS[1], ARGV[1]), left}
