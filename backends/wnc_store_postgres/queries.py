"""Queries that only read. The first argument of each is the key prefix."""

# Every comparison is with the primary key, so that no query scans a table.

GET_ROOMS = """
SELECT room_id, version, data FROM wnc_schema.wnc_store_rooms
WHERE prefix = $1 AND room_id = ANY ($2::text[]) AND (expires_at > statement_timestamp() OR expires_at IS NULL)
"""

GET_ROOM_TTL = """
SELECT ceil(extract(epoch FROM expires_at - statement_timestamp()) * 1000)::bigint FROM wnc_schema.wnc_store_rooms
WHERE prefix = $1 AND room_id = $2 AND (expires_at > statement_timestamp() OR expires_at IS NULL)
"""

GET_CHAT_TTL = """
SELECT ceil(extract(epoch FROM expires_at - statement_timestamp()) * 1000)::bigint FROM wnc_schema.wnc_store_chats
WHERE prefix = $1 AND room_id = $2 AND (expires_at > statement_timestamp() OR expires_at IS NULL)
"""

# $2: the ids of rooms; $3: the number of messages of each
GET_MESSAGES = """
SELECT c.room_id, m.version, m.data FROM wnc_schema.wnc_store_chats c
CROSS JOIN LATERAL (
    SELECT position, version, data FROM wnc_schema.wnc_store_messages
    WHERE prefix = c.prefix AND room_id = c.room_id ORDER BY position DESC LIMIT $3) m
WHERE c.prefix = $1 AND c.room_id = ANY ($2::text[]) AND (c.expires_at > statement_timestamp() OR c.expires_at IS NULL)
ORDER BY m.position
"""

FIND_MESSAGES = "SELECT numbers, entries FROM wnc_schema.wnc_store_candidates_v1($1, $2, $3, $4)"

# $2: the last id of the previous page; $3: the number of entries
LIST_ROOMS = """
SELECT page.room_id, found.is_live IS NOT NULL
FROM (SELECT room_id FROM wnc_schema.wnc_store_active WHERE prefix = $1 AND room_id > $2 ORDER BY room_id LIMIT $3) page
LEFT JOIN LATERAL (SELECT true AS is_live FROM wnc_schema.wnc_store_rooms r
    WHERE r.prefix = $1 AND r.room_id = page.room_id
        AND (r.expires_at > statement_timestamp() OR r.expires_at IS NULL) LIMIT 1) found ON true
ORDER BY page.room_id
"""

COUNT_LEASES = """
SELECT count(*) FROM wnc_schema.wnc_store_leases WHERE prefix = $1 AND key = $2 AND expires_at > statement_timestamp()
"""

PEEK = """
SELECT count, ceil(extract(epoch FROM expires_at - statement_timestamp()) * 1000)::bigint FROM wnc_schema.wnc_store_hits
WHERE prefix = $1 AND key = $2 AND (expires_at > statement_timestamp() OR expires_at IS NULL)
"""

PURGE = "SELECT wnc_schema.wnc_store_purge_v1($1, $2)"

PING = "SELECT $1::text"
