-- Append a chat message, unless the chat contains it already.
--
-- newest_first  a local boolean: whether the list begins with the newest entry
--
-- KEYS[1]  the chat: a list of JSON
-- ARGV[1]  the entry to append; a nonce makes it unique
-- ARGV[2]  the id of the message in UTF-8
-- ARGV[3]  the maximum number of entries in the chat
-- ARGV[4]  TTL of the chat in milliseconds
-- ARGV[5]  in a first attempt, the newest entry, if the caller knows that no message of the chat has the id while that
--          entry is the newest; in a retry, the anchor: a unique entry that was in the chat before the first attempt;
--          "" if no such entry is known
-- ARGV[6]  "1" in a retry, else ""
-- ARGV[7..9]  PUBLISH or SPUBLISH, the channel and the event; "" each if no event is published
-- ARGV[10..] entries that seem to have the id, but that the caller could not decode as messages with this id
--
-- Returns one of
--   n                the message was appended after ARGV[5], and the chat has n > 0 entries
--   {n, newest}      the message was appended after the entry `newest` ("" if the chat was empty)
--   0                nothing was appended: the chat contains the entry, from an earlier attempt
--   {0, entry, ..}   nothing was appended: these entries may have the id; the caller must decode them to check
--   -1               nothing was appended by this retry: the chat contains neither the entry nor the anchor. An earlier
--                    attempt may have appended the message, which may have been trimmed or deleted since.

local limit = tonumber(ARGV[3])
local push, newest_index, first, last = 'RPUSH', -1, -limit, -1
if newest_first then
  push, newest_index, first, last = 'LPUSH', 0, 0, limit - 1
end
local newest = redis.call('LINDEX', KEYS[1], newest_index) or ''
local is_retry = ARGV[6] == '1'
local is_known = not is_retry and newest ~= '' and newest == ARGV[5]

if not is_known then
  -- JSON can spell the id, and the name of its field, in several ways. Here an escaped quote or backslash becomes a
  -- control character, which JSON does not contain. So each quote that is left begins or ends a string, and ids as
  -- JSON.stringify writes them are compared exactly. A backslash that is left begins another escape sequence, or stands
  -- for half of a surrogate pair in UTF-8. Before it, an id is compared; behind it, the caller must decode the entry.
  local control = {['"'] = '\1', ['\\'] = '\2'}
  local own = ARGV[2]:gsub('["\\]', control)
  local id = '"' .. own .. '"'
  local member = '"id"%s*:%s*' .. id:gsub('%p', '%%%0')
  -- The time is linear in the size of the entry, because a guest chooses the text of a message.
  local function may_have_id(entry)
    if entry:find('\\', 1, true) then
      entry = entry:gsub('\\(["\\])', control)
    end
    if entry:find('\237', 1, true) then
      entry = entry:gsub('\237[\160-\191]', '\\')
    end
    if entry:find(id, 1, true) and entry:find(member) then
      return true
    end
    if entry:find('\\', 1, true) then
      for start in entry:gmatch('"id"%s*:%s*"([^"\\]*)\\') do
        if own:sub(1, #start) == start then
          return true
        end
      end
      for name in entry:gmatch('"([\\u0469id]+)"%s*:') do
        if name:find('\\', 1, true) then
          return true
        end
      end
    end
  end
  local is_present, has_anchor, similar = false, not is_retry, {0}
  local is_other = {}
  for i = 10, #ARGV do
    is_other[ARGV[i]] = true
  end
  for _, entry in ipairs(redis.call('LRANGE', KEYS[1], first, last)) do
    is_present = is_present or entry == ARGV[1]
    has_anchor = has_anchor or (entry == ARGV[5] and entry ~= '')
    if not is_other[entry] and may_have_id(entry) then
      table.insert(similar, entry)
    end
  end
  if is_present or #similar > 1 then
    -- Write without an effect: on Redis 8, WAIT covers only writes of the same connection. The earlier attempt was sent
    -- over another connection.
    local ttl = redis.call('PTTL', KEYS[1])
    if ttl > 0 then
      redis.call('PEXPIRE', KEYS[1], ttl)
    end
    return is_present and 0 or similar
  end
  if not has_anchor then
    return -1
  end
end

local count = math.min(redis.call(push, KEYS[1], ARGV[1]), limit)
redis.call('LTRIM', KEYS[1], first, last)
redis.call('PEXPIRE', KEYS[1], ARGV[4])
if ARGV[7] ~= '' then
  redis.call(ARGV[7], ARGV[8], ARGV[9])
end
return is_known and count or {count, newest}
