-- Replace or remove a chat message, if the chat still contains the entry that the caller read.
--
-- newest_first  a local boolean: whether the list begins with the newest entry
--
-- KEYS[1]  the chat: a list of JSON
-- ARGV[1]  the entry to store instead; a nonce makes it unique; "" to remove the message
-- ARGV[2]  a new nonce: whitespace; only to remove the message, else ""
-- ARGV[3]  the maximum number of entries in the chat
-- ARGV[4]  TTL of the chat in milliseconds
-- ARGV[5]  "" in a first attempt; in a retry, "1" if a nonce makes ARGV[9] unique, else "0"
-- ARGV[6..8] PUBLISH or SPUBLISH, the channel and the event; "" each if no event is published
-- ARGV[9]  the newest entry with the id of the message
-- ARGV[10..] other entries with the id
--
-- Returns one of
--   1             the message was replaced or removed
--   0             nothing was changed: an earlier attempt has replaced or removed the message
--   {entry, ..}   nothing was changed: the chat contains these entries, in the order of the list, and not ARGV[9]
--   -1            nothing was changed by this retry: an earlier attempt may have replaced or removed the message, and
--                 others may have changed the chat since
--
-- A retry of `append.lua` takes an older entry in the chat as proof that its message was not appended and removed
-- since. So a removal gives each remaining entry that has a nonce the new one. It also proves the removal to a retry.

local limit, nonce = tonumber(ARGV[3]), ARGV[2]
local first, last = -limit, -1
if newest_first then
  first, last = 0, limit - 1
end
local entries = redis.call('LRANGE', KEYS[1], first, last)
local is_own, is_expected = {}, {}
for i = 9, #ARGV do
  is_own[ARGV[i]] = true
end

local is_applied = false
for _, entry in ipairs(entries) do
  is_expected[entry] = true
  if ARGV[5] ~= '' then
    is_applied = is_applied or (ARGV[1] ~= '' and entry == ARGV[1]) or (nonce ~= '' and entry:sub(-#nonce) == nonce)
  end
end
if is_applied then
  -- Write without an effect: on Redis 8, WAIT covers only writes of the same connection. The earlier attempt was sent
  -- over another connection.
  local ttl = redis.call('PTTL', KEYS[1])
  if ttl > 0 then
    redis.call('PEXPIRE', KEYS[1], ttl)
  end
  return 0
end
if not is_expected[ARGV[9]] then
  return ARGV[5] == '' and entries or -1
end
if ARGV[5] == '0' then
  return -1
end

-- A server whose memory is full rejects LSET, unless the script has written before. So an edit begins with it, and is
-- rejected as a whole. A removal frees memory, and begins with LTRIM, which is never rejected. LTRIM leaves `entries`, so
-- that their indices stay valid.
if nonce ~= '' then
  redis.call('LTRIM', KEYS[1], first, last)
end
local removed = 0
for i, entry in ipairs(entries) do
  local index = newest_first and i - 1 or i - #entries - 1
  if is_own[entry] then
    if nonce == '' then
      redis.call('LSET', KEYS[1], index, ARGV[1])
    end
    removed = removed + 1
  elseif nonce ~= '' and #entry > #nonce and entry:sub(-#nonce):find('^[ \t\n\r]+$') then
    redis.call('LSET', KEYS[1], index, entry:sub(1, -#nonce - 1) .. nonce)
  end
end
if nonce == '' then
  redis.call('LTRIM', KEYS[1], first, last)
else
  for i = 9, #ARGV do
    redis.call('LREM', KEYS[1], 0, ARGV[i])
  end
end
-- In a slot that migrates, Redis refuses writes to a missing key.
if nonce == '' or removed < #entries then
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
if ARGV[6] ~= '' then
  redis.call(ARGV[6], ARGV[7], ARGV[8])
end
return 1
