-- Delete a room, whatever it holds, with its entry in the index and its chat.
--
-- KEYS[1]  the room
-- KEYS[2]  the index of active rooms: a set
-- KEYS[3]  the room's chat
-- ARGV[1]  the room's id
--
-- Returns 1 if there was a room, else 0.

local index_type = redis.call('TYPE', KEYS[2]).ok
if index_type ~= 'set' and index_type ~= 'none' then
  return redis.error_reply('WRONGTYPE the index of active rooms holds a ' .. index_type)
end

local removed = redis.call('DEL', KEYS[1])
redis.call('DEL', KEYS[3])
redis.call('SREM', KEYS[2], ARGV[1])
return removed
