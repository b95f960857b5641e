-- Append a chat message unless its id is already among the kept ones that can be read.
--
-- KEYS[1]  the chat: a list of JSON, oldest first
-- ARGV[1]  the message's bytes
-- ARGV[2]  the message's id: of A-Z a-z 0-9 _ - . : only, so JSON spells it in one way
-- ARGV[3]  how many messages are kept
-- ARGV[4]  TTL of the chat in milliseconds
-- ARGV[5], ARGV[6]  only where it is to be told: the channel of the room's events, and the event to publish
-- the last one  only in a repetition, when an attempt before may have appended it: the id of a message that was among
--          the kept ones before that attempt, or "" if none is known
--
-- Returns 1 when appended; 0 when the id was there and nothing was written; -1 when nothing was written because an
-- attempt before may have appended the message, and others may have pushed it out or cleared the chat since. As long as
-- an older message is kept, neither has happened.

-- cjson stops at the lone surrogates that JavaScript leaves in texts, so escapes are blanked out before it reads. The
-- entry itself is never written back. What has not the fields of a message is nobody's repetition.
local function id_of(entry)
  local plain = entry:gsub('\\\\', ''):gsub('\\u%x%x%x%x', '?')
  local ok, message = pcall(cjson.decode, plain)
  if not ok or type(message) ~= 'table' then
    return nil
  end
  for _, field in ipairs({'roomId', 'userId', 'userName', 'message'}) do
    if type(message[field]) ~= 'string' then
      return nil
    end
  end
  return message.id
end

local is_told = #ARGV >= 6
local witness = ARGV[is_told and 7 or 5]

local kept = redis.call('LRANGE', KEYS[1], -tonumber(ARGV[3]), -1)

local function is_kept(id)
  local quoted = '"' .. id .. '"'
  for _, entry in ipairs(kept) do
    if entry:find(quoted, 1, true) and id_of(entry) == id then
      return true
    end
  end
  return false
end

if is_kept(ARGV[2]) then
  return 0
end
if witness and not (witness ~= '' and is_kept(witness)) then
  return -1
end

redis.call('RPUSH', KEYS[1], ARGV[1])
redis.call('LTRIM', KEYS[1], -tonumber(ARGV[3]), -1)
redis.call('PEXPIRE', KEYS[1], ARGV[4])
if is_told then
  redis.call('PUBLISH', ARGV[5], ARGV[6])
end
return 1
