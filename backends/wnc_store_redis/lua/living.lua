-- Tell which rooms live. Changes nothing.
--
-- KEYS[1..]  the rooms
--
-- Returns the places of those that live, in order, counted from 1.

local places = {}
for place, key in ipairs(KEYS) do
  if redis.call('EXISTS', key) == 1 then
    places[#places + 1] = place
  end
end
return places
