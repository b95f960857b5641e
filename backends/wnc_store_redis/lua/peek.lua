-- Read a count and what is left of its window, so that both are of the same one. Changes nothing.
--
-- KEYS[1]  the count: a string, a plain integer, whose TTL is what is left of the window
--
-- Returns {what PTTL says, what is stored or nil}.

return {redis.call('PTTL', KEYS[1]), redis.call('GET', KEYS[1])}
