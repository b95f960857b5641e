-- Refuse to run too late, or without permissions. `scripts.py` puts this text in front of each script that writes.
--
-- ARGV[#ARGV]     the server's time in epoch milliseconds after which the script must not run; removed from ARGV
-- commands        a local table: the commands of the script from its first write on, each with the index of its key
-- publish         a local number: the index in ARGV of PUBLISH or SPUBLISH, which the channel follows; 0 for none
--
-- The error EXPIRED contains the server's time. The error NOPERM names a command. Nothing was changed then. An error
-- inside a script does not undo its earlier writes, so commands are checked before the first one.

local time = redis.pcall('TIME')
if time.err then
  return redis.error_reply('NOPERM cannot run TIME')
end
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if now > tonumber(table.remove(ARGV)) then
  return redis.error_reply('EXPIRED ' .. string.format('%d', now))
end

local channel_command = ARGV[publish] or ''
if redis.acl_check_cmd then  -- since Redis 7.0
  for i = 1, #commands, 2 do
    local exists, allowed = pcall(redis.acl_check_cmd, commands[i], KEYS[commands[i + 1]] or KEYS[1])
    if not (exists and allowed) then
      return redis.error_reply('NOPERM cannot run ' .. commands[i])
    end
  end
  if channel_command ~= '' then
    local exists, allowed = pcall(redis.acl_check_cmd, channel_command, ARGV[publish + 1], '')
    if not exists and channel_command == 'SPUBLISH' then
      return redis.error_reply("ERR unknown command 'SPUBLISH'")
    end
    if not (exists and allowed) then
      return redis.error_reply('NOPERM cannot run ' .. channel_command)
    end
  end
elseif channel_command == 'SPUBLISH' then
  return redis.error_reply("ERR unknown command 'SPUBLISH'")
end

