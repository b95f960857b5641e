-- Count a hit in a fixed window, together with the Node app's own script on the same key.
--
-- KEYS[1]  the count: a string, a plain integer, whose TTL is what is left of the window
-- ARGV[1]  how many hits this one counts for
-- ARGV[2]  how long a window is, in milliseconds
--
-- Returns {the count, what is left of the window in milliseconds}.

local stored = redis.call('GET', KEYS[1])
if stored and not stored:match('^-?%d+$') then
  return redis.error_reply('WRONGTYPE the key holds no count')
end

local count = redis.call('INCRBY', KEYS[1], ARGV[1])
local left = redis.call('PTTL', KEYS[1])
if left < 0 then  -- a new window, or one that somebody left without an end
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  left = tonumber(ARGV[2])
end
return {count, left}
