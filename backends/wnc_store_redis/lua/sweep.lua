-- Remove the index entries of dead rooms; a room that lives by now keeps its entry.
--
-- KEYS[1]    the index of active rooms: a set
-- KEYS[2..]  the rooms
-- ARGV[1..]  their entries in the index, in the same order
--
-- Returns how many entries were removed.

local removed = 0
for i = 1, #ARGV do
  if redis.call('EXISTS', KEYS[i + 1]) == 0 then
    removed = removed + redis.call('SREM', KEYS[1], ARGV[i])
  end
end
return removed
