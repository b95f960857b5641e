-- Append a chat message, unless it is kept already.
--
-- KEYS[1]  the chat: a list of JSON, oldest first
-- ARGV[1]  the message's bytes; no two calls write the same
-- ARGV[2]  the message's id: of A-Z a-z 0-9 _ - . : only, so JSON spells it in one way
-- ARGV[3]  how many messages are kept
-- ARGV[4]  TTL of the chat in milliseconds
-- ARGV[5]  the chat's newest entry, if the caller knows that no kept message has the id while that is the newest; else ""
-- ARGV[6]  in a repetition, when an earlier attempt may have appended the message: an entry, unlike any other, that was
--          kept before the first attempt, or "?" if none is known; else ""
-- ARGV[7..9]  only if an event is published: PUBLISH, or on a cluster SPUBLISH; the channel; the event
--
-- Returns one of
--   n                       the message was appended after ARGV[5], and n > 0 entries are kept now
--   {n, newest}             the message was appended after this entry ("" if the chat was empty)
--   0                       these very bytes are kept: an earlier attempt appended them
--   {0, newest, entry, ..}  nothing was appended: these kept entries seem to have the id, and the caller must decode them
--                           to find out whether one is a message of that id
--   -1                      nothing was appended: an earlier attempt may have appended the message, and it may have been
--                           trimmed or cleared since. While an entry older than the message is kept, neither has happened.

local newest = redis.call('LINDEX', KEYS[1], -1) or ''
local is_known = newest ~= '' and newest == ARGV[5]

if not is_known then
  local id = '"' .. ARGV[2] .. '"'
  local member = '"id"%s*:%s*' .. id:gsub('%p', '%%%0')
  local is_kept, has_witness, similar = false, ARGV[6] == '', {0, newest}
  for _, entry in ipairs(redis.call('LRANGE', KEYS[1], -tonumber(ARGV[3]), -1)) do
    is_kept = is_kept or entry == ARGV[1]
    has_witness = has_witness or entry == ARGV[6]
    if entry:find(id, 1, true) and entry:find(member) then
      table.insert(similar, entry)
    end
  end
  if is_kept or #similar > 2 then
    -- A write that changes nothing: on Redis 8, WAIT follows only what its own connection has written, and would not tell
    -- which replicas have the earlier attempt, which was sent over a connection that was lost.
    local left = redis.call('PTTL', KEYS[1])
    if left > 0 then
      redis.call('PEXPIRE', KEYS[1], left)
    end
    return is_kept and 0 or similar
  end
  if not has_witness then
    return -1
  end
end

-- Before anything is written: Redis has SPUBLISH from 7.0 on, and acl_check_cmd, too.
if ARGV[7] == 'SPUBLISH' and not redis.acl_check_cmd(ARGV[7], ARGV[8], '') then
  return redis.error_reply('NOPERM this user may not publish by SPUBLISH')
end

local count = math.min(redis.call('RPUSH', KEYS[1], ARGV[1]), tonumber(ARGV[3]))
redis.call('LTRIM', KEYS[1], -tonumber(ARGV[3]), -1)
redis.call('PEXPIRE', KEYS[1], ARGV[4])
if ARGV[7] then
  redis.call(ARGV[7], ARGV[8], ARGV[9])
end
return is_known and count or {count, newest}
