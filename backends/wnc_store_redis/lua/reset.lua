-- Delete the hits of a client.
--
-- KEYS[1]  the count
--
-- Returns 1 if there was a count, else 0.

return redis.call('DEL', KEYS[1])
