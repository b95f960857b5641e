-- Refuse to run too late. `scripts.py` puts this text in front of each script that writes.
--
-- ARGV[#ARGV]  the server's time in epoch milliseconds after which the script must not run. It is removed from ARGV.
--
-- The error EXPIRED contains the server's time. Nothing was changed then.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if now > tonumber(table.remove(ARGV)) then
  return redis.error_reply('EXPIRED ' .. string.format('%d', now))
end

