-- Remove the index entries of rooms that do not exist.
--
-- KEYS[1]    the index of active rooms: a set
-- KEYS[2..]  the rooms
-- ARGV[1..]  the index entries of these rooms, in the same order
--
-- Returns the number of removed entries.

local removed = 0
for i = 1, #ARGV do
  if redis.call('EXISTS', KEYS[i + 1]) == 0 then
    removed = removed + redis.call('SREM', KEYS[1], ARGV[i])
  end
end
return removed
