-- Read a count and its TTL atomically. Read-only.
--
-- KEYS[1]  the count: a string, a decimal integer; its TTL is the remaining time of the window
--
-- Returns {the result of PTTL, the stored bytes or nil}.

return {redis.call('PTTL', KEYS[1]), redis.call('GET', KEYS[1])}
