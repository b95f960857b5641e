-- Functions of wnc-store. The name of the schema replaces `wnc_schema`.
--
-- A function that writes is one transaction and one round trip. It has these parameters and results:
--
-- p_prefix    `key_prefix`
-- p_writer    the writer, see wnc_store_writers
-- p_sequence  the number of this write of the writer; the first is 1
-- p_until     the time after which the function writes nothing, in seconds of the server's clock since the epoch
-- p_channel   the channel of the events
-- p_payloads  the payloads of NOTIFY in order, in UTF-8; only sent if the function writes
-- TTLs        milliseconds
-- applied     whether the function wrote; if not, nothing was changed (but expired rows may be gone)
-- numbers     numbers of the result; if the function wrote, they are also stored with the writer
-- entries     stored bytes, only if the function did not write
--
-- SQLSTATE WNC01: the writer is fenced or unknown; nothing was written. WNC02: the transaction is not READ COMMITTED.
-- WNC03: `p_until` has passed; nothing was written.

-- Lock a room or a key until the end of the transaction, and return the time. Each transaction takes one such lock, so
-- that transactions cannot wait for one another in a cycle.
CREATE OR REPLACE FUNCTION wnc_schema.wnc_store_lock_v1(p_kind text, p_prefix text, p_id text) RETURNS timestamptz
LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE 'the transaction isolation level must be read committed' USING ERRCODE = 'WNC02';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended(p_kind || ' ' || p_prefix || ' ' || p_id, 7631));
    RETURN clock_timestamp();
END $$;

-- Record a write, and publish its events. Called by each function that has written, at its end.
CREATE OR REPLACE FUNCTION wnc_schema.wnc_store_applied_v1(
    p_prefix text, p_writer uuid, p_sequence bigint, p_until float8, p_numbers bigint[], p_channel text, p_payloads bytea[]
) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE wnc_schema.wnc_store_writers SET sequence = p_sequence, numbers = p_numbers
        WHERE prefix = p_prefix AND writer = p_writer AND NOT is_fenced AND sequence = p_sequence - 1;
    IF NOT FOUND THEN
        IF p_sequence = 1 THEN
            INSERT INTO wnc_schema.wnc_store_writers (prefix, writer, sequence, numbers)
                VALUES (p_prefix, p_writer, 1, p_numbers) ON CONFLICT DO NOTHING;
        END IF;
        IF NOT FOUND THEN
            RAISE 'the writer is fenced or unknown' USING ERRCODE = 'WNC01';
        END IF;
    END IF;
    -- The row of the writer is locked now, so that nothing but the commit follows, which does not wait.
    IF extract(epoch FROM clock_timestamp()) > p_until THEN
        RAISE 'the request has arrived too late' USING ERRCODE = 'WNC03';
    END IF;
    IF p_payloads <> '{}' THEN
        PERFORM pg_notify(p_channel, convert_from(payload, 'UTF8'))
            FROM unnest(p_payloads) WITH ORDINALITY AS event (payload, i) ORDER BY i;
    END IF;
END $$;

-- Fence a writer, and return its last write that was committed: 0 if there is none.
CREATE OR REPLACE FUNCTION wnc_schema.wnc_store_fence_v1(p_prefix text, p_writer uuid, OUT sequence bigint, OUT numbers bigint[])
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    INSERT INTO wnc_schema.wnc_store_writers AS w (prefix, writer, sequence, is_fenced)
        VALUES (p_prefix, p_writer, 0, true)
        ON CONFLICT (prefix, writer) DO UPDATE SET is_fenced = true
        RETURNING w.sequence, w.numbers INTO wnc_store_fence_v1.sequence, wnc_store_fence_v1.numbers;
END $$;

-- Store a new room, unless its id is in use, and delete the chat with its id.
CREATE OR REPLACE FUNCTION wnc_schema.wnc_store_create_v1(
    p_prefix text, p_writer uuid, p_sequence bigint, p_until float8, p_channel text, p_payloads bytea[],
    p_room_id text, p_version bigint, p_data bytea, p_ttl bigint,
    OUT applied boolean, OUT numbers bigint[], OUT entries bytea[])
LANGUAGE plpgsql AS $$
DECLARE
    v_now timestamptz := wnc_schema.wnc_store_lock_v1('room', p_prefix, p_room_id);
BEGIN
    INSERT INTO wnc_schema.wnc_store_rooms AS r (prefix, room_id, version, expires_at, data)
        VALUES (p_prefix, p_room_id, p_version, v_now + p_ttl * interval '1 ms', p_data)
        ON CONFLICT (prefix, room_id) DO UPDATE
        SET version = excluded.version, expires_at = excluded.expires_at, data = excluded.data
        WHERE r.expires_at <= v_now;
    applied := FOUND;
    IF applied THEN
        INSERT INTO wnc_schema.wnc_store_active VALUES (p_prefix, p_room_id) ON CONFLICT DO NOTHING;
        PERFORM wnc_schema.wnc_store_drop_chat_v1(p_prefix, p_room_id);
        PERFORM wnc_schema.wnc_store_applied_v1(p_prefix, p_writer, p_sequence, p_until, numbers, p_channel, p_payloads);
    END IF;
END $$;

-- Delete the messages of a room, whether the chat has expired or not.
CREATE OR REPLACE FUNCTION wnc_schema.wnc_store_drop_chat_v1(p_prefix text, p_room_id text) RETURNS void
LANGUAGE sql AS $$
    DELETE FROM wnc_schema.wnc_store_chats WHERE prefix = p_prefix AND room_id = p_room_id;
    DELETE FROM wnc_schema.wnc_store_messages WHERE prefix = p_prefix AND room_id = p_room_id;
$$;

-- Replace a room that has the version `p_expected`, or delete it and its chat if `p_data` is NULL. `p_chat_ttl` is the
-- TTL that its chat gets; NULL leaves it unchanged.
--
-- If the room has another version, `numbers` and `entries` contain its version and its data. They are empty if there is
-- no such room.
CREATE OR REPLACE FUNCTION wnc_schema.wnc_store_commit_v1(
    p_prefix text, p_writer uuid, p_sequence bigint, p_until float8, p_channel text, p_payloads bytea[],
    p_room_id text, p_expected bigint, p_version bigint, p_data bytea, p_ttl bigint, p_chat_ttl bigint,
    OUT applied boolean, OUT numbers bigint[], OUT entries bytea[])
LANGUAGE plpgsql AS $$
DECLARE
    v_now timestamptz := wnc_schema.wnc_store_lock_v1('room', p_prefix, p_room_id);
    v_room record;
BEGIN
    SELECT version, data INTO v_room FROM wnc_schema.wnc_store_rooms
        WHERE prefix = p_prefix AND room_id = p_room_id AND (expires_at > v_now OR expires_at IS NULL) FOR UPDATE;
    applied := FOUND AND v_room.version = p_expected;
    IF NOT applied THEN
        IF v_room.version IS NOT NULL THEN
            numbers := ARRAY[v_room.version];
            entries := ARRAY[v_room.data];
        END IF;
        RETURN;
    END IF;
    IF p_data IS NULL THEN
        DELETE FROM wnc_schema.wnc_store_rooms WHERE prefix = p_prefix AND room_id = p_room_id;
        DELETE FROM wnc_schema.wnc_store_active WHERE prefix = p_prefix AND room_id = p_room_id;
        PERFORM wnc_schema.wnc_store_drop_chat_v1(p_prefix, p_room_id);
    ELSE
        UPDATE wnc_schema.wnc_store_rooms
            SET version = p_version, expires_at = v_now + p_ttl * interval '1 ms', data = p_data
            WHERE prefix = p_prefix AND room_id = p_room_id;
        INSERT INTO wnc_schema.wnc_store_active VALUES (p_prefix, p_room_id) ON CONFLICT DO NOTHING;
        IF p_chat_ttl IS NOT NULL THEN
            UPDATE wnc_schema.wnc_store_chats SET expires_at = v_now + p_chat_ttl * interval '1 ms'
                WHERE prefix = p_prefix AND room_id = p_room_id AND (expires_at > v_now OR expires_at IS NULL);
        END IF;
    END IF;
    PERFORM wnc_schema.wnc_store_applied_v1(p_prefix, p_writer, p_sequence, p_until, numbers, p_channel, p_payloads);
END $$;

-- Delete a room, its chat and its index entry. `numbers` is 1 if there was a room, else 0: then no event is sent.
--
-- `applied` is always true. A chat without a room is deleted, too, so also that must not happen after a fence.
CREATE OR REPLACE FUNCTION wnc_schema.wnc_store_delete_v1(
    p_prefix text, p_writer uuid, p_sequence bigint, p_until float8, p_channel text, p_payloads bytea[], p_room_id text,
    OUT applied boolean, OUT numbers bigint[], OUT entries bytea[])
LANGUAGE plpgsql AS $$
DECLARE
    v_now timestamptz := wnc_schema.wnc_store_lock_v1('room', p_prefix, p_room_id);
    v_expires_at timestamptz;
    v_is_live boolean;
BEGIN
    DELETE FROM wnc_schema.wnc_store_rooms WHERE prefix = p_prefix AND room_id = p_room_id
        RETURNING expires_at INTO v_expires_at;
    v_is_live := FOUND AND (v_expires_at > v_now OR v_expires_at IS NULL);
    DELETE FROM wnc_schema.wnc_store_active WHERE prefix = p_prefix AND room_id = p_room_id;
    PERFORM wnc_schema.wnc_store_drop_chat_v1(p_prefix, p_room_id);
    applied := true;
    numbers := ARRAY[v_is_live::int];
    PERFORM wnc_schema.wnc_store_applied_v1(p_prefix, p_writer, p_sequence, p_until, numbers, p_channel,
        CASE WHEN v_is_live THEN p_payloads ELSE '{}' END);
END $$;

-- Store a room and its chat with their TTLs, unless a room has the id and `p_replace` is false.
CREATE OR REPLACE FUNCTION wnc_schema.wnc_store_restore_v1(
    p_prefix text, p_writer uuid, p_sequence bigint, p_until float8, p_channel text, p_payloads bytea[],
    p_room_id text, p_version bigint, p_data bytea, p_ttl bigint, p_replace boolean,
    p_chat_ttl bigint, p_message_ids text[], p_messages bytea[],
    OUT applied boolean, OUT numbers bigint[], OUT entries bytea[])
LANGUAGE plpgsql AS $$
DECLARE
    v_now timestamptz := wnc_schema.wnc_store_lock_v1('room', p_prefix, p_room_id);
BEGIN
    INSERT INTO wnc_schema.wnc_store_rooms AS r (prefix, room_id, version, expires_at, data)
        VALUES (p_prefix, p_room_id, p_version, v_now + p_ttl * interval '1 ms', p_data)
        ON CONFLICT (prefix, room_id) DO UPDATE
        SET version = excluded.version, expires_at = excluded.expires_at, data = excluded.data
        WHERE p_replace OR r.expires_at <= v_now;
    applied := FOUND;
    IF applied THEN
        INSERT INTO wnc_schema.wnc_store_active VALUES (p_prefix, p_room_id) ON CONFLICT DO NOTHING;
        PERFORM wnc_schema.wnc_store_drop_chat_v1(p_prefix, p_room_id);
        IF p_messages <> '{}' THEN
            INSERT INTO wnc_schema.wnc_store_chats (prefix, room_id, expires_at)
                VALUES (p_prefix, p_room_id, v_now + p_chat_ttl * interval '1 ms');
            INSERT INTO wnc_schema.wnc_store_messages (prefix, room_id, position, message_id, data)
                SELECT p_prefix, p_room_id, m.position, m.message_id, m.data
                FROM unnest(p_message_ids, p_messages) WITH ORDINALITY AS m (message_id, data, position);
        END IF;
        PERFORM wnc_schema.wnc_store_applied_v1(p_prefix, p_writer, p_sequence, p_until, numbers, p_channel, p_payloads);
    END IF;
END $$;

-- Remove index entries of rooms that do not exist, among the entries after `p_after` up to `p_last`.
--
-- `numbers` is the number of removed entries. The entry of a room that another transaction locks is kept.
CREATE OR REPLACE FUNCTION wnc_schema.wnc_store_sweep_v1(
    p_prefix text, p_writer uuid, p_sequence bigint, p_until float8, p_channel text, p_payloads bytea[], p_after text, p_last text,
    OUT applied boolean, OUT numbers bigint[], OUT entries bytea[])
LANGUAGE plpgsql AS $$
DECLARE
    v_room_id text;
    v_removed bigint := 0;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE 'the transaction isolation level must be read committed' USING ERRCODE = 'WNC02';
    END IF;
    FOR v_room_id IN
        SELECT a.room_id FROM wnc_schema.wnc_store_active a
            LEFT JOIN wnc_schema.wnc_store_rooms r ON r.prefix = a.prefix AND r.room_id = a.room_id
                AND (r.expires_at > clock_timestamp() OR r.expires_at IS NULL)
            WHERE a.prefix = p_prefix AND a.room_id > p_after AND a.room_id <= p_last AND r.room_id IS NULL
    LOOP
        -- The room may have been created since the query began, so look again while it is locked.
        IF pg_try_advisory_xact_lock(hashtextextended('room ' || p_prefix || ' ' || v_room_id, 7631)) THEN
            DELETE FROM wnc_schema.wnc_store_active a WHERE a.prefix = p_prefix AND a.room_id = v_room_id
                AND NOT EXISTS (SELECT FROM wnc_schema.wnc_store_rooms r
                    WHERE r.prefix = p_prefix AND r.room_id = v_room_id
                        AND (r.expires_at > clock_timestamp() OR r.expires_at IS NULL));
            IF FOUND THEN
                v_removed := v_removed + 1;
            END IF;
        END IF;
    END LOOP;
    applied := v_removed > 0;
    numbers := ARRAY[v_removed];
    IF applied THEN
        PERFORM wnc_schema.wnc_store_applied_v1(p_prefix, p_writer, p_sequence, p_until, numbers, p_channel, p_payloads);
    END IF;
END $$;

-- Append a message and keep the last `p_limit`, unless one of the last `p_limit` has its id.
--
-- If a message may have the id because its `message_id` is NULL, and `p_checked` does not contain its version, nothing is
-- written: `numbers` and `entries` are the versions and the data of these messages, which the caller has to decode.
CREATE OR REPLACE FUNCTION wnc_schema.wnc_store_append_v1(
    p_prefix text, p_writer uuid, p_sequence bigint, p_until float8, p_channel text, p_payloads bytea[],
    p_room_id text, p_message_id text, p_version bigint, p_data bytea, p_limit bigint, p_ttl bigint,
    p_checked bigint[],
    OUT applied boolean, OUT numbers bigint[], OUT entries bytea[])
LANGUAGE plpgsql AS $$
DECLARE
    v_now timestamptz := wnc_schema.wnc_store_lock_v1('room', p_prefix, p_room_id);
    v_expires_at timestamptz;
    v_is_present boolean := false;
    v_last bigint := 0;
BEGIN
    SELECT expires_at INTO v_expires_at FROM wnc_schema.wnc_store_chats
        WHERE prefix = p_prefix AND room_id = p_room_id FOR UPDATE;
    IF v_expires_at <= v_now THEN
        DELETE FROM wnc_schema.wnc_store_messages WHERE prefix = p_prefix AND room_id = p_room_id;
    ELSIF FOUND THEN
        SELECT coalesce(bool_or(message_id = p_message_id), false), coalesce(max(position), 0),
                array_agg(version) FILTER (WHERE message_id IS NULL AND version <> ALL (p_checked)),
                array_agg(data) FILTER (WHERE message_id IS NULL AND version <> ALL (p_checked))
            INTO v_is_present, v_last, numbers, entries
            FROM (SELECT position, message_id, version, data FROM wnc_schema.wnc_store_messages
                WHERE prefix = p_prefix AND room_id = p_room_id ORDER BY position DESC LIMIT p_limit) AS kept;
    END IF;
    applied := NOT v_is_present AND entries IS NULL;
    IF v_is_present THEN
        numbers := NULL;
        entries := NULL;
    END IF;
    IF applied THEN
        INSERT INTO wnc_schema.wnc_store_chats AS c (prefix, room_id, expires_at)
            VALUES (p_prefix, p_room_id, v_now + p_ttl * interval '1 ms')
            ON CONFLICT (prefix, room_id) DO UPDATE SET expires_at = excluded.expires_at;
        INSERT INTO wnc_schema.wnc_store_messages (prefix, room_id, position, message_id, version, data)
            VALUES (p_prefix, p_room_id, v_last + 1, p_message_id, p_version, p_data);
        PERFORM wnc_schema.wnc_store_trim_v1(p_prefix, p_room_id, p_limit);
        PERFORM wnc_schema.wnc_store_applied_v1(p_prefix, p_writer, p_sequence, p_until, numbers, p_channel, p_payloads);
    END IF;
END $$;

-- Delete all but the last `p_limit` messages of a room.
CREATE OR REPLACE FUNCTION wnc_schema.wnc_store_trim_v1(p_prefix text, p_room_id text, p_limit bigint) RETURNS void
LANGUAGE sql AS $$
    DELETE FROM wnc_schema.wnc_store_messages WHERE prefix = p_prefix AND room_id = p_room_id AND position <= (
        SELECT position FROM wnc_schema.wnc_store_messages WHERE prefix = p_prefix AND room_id = p_room_id
            ORDER BY position DESC OFFSET p_limit LIMIT 1);
$$;

-- Return, oldest first, those of the last `p_limit` messages of a live chat that have or may have an id.
CREATE OR REPLACE FUNCTION wnc_schema.wnc_store_candidates_v1(
    p_prefix text, p_room_id text, p_message_id text, p_limit bigint, OUT numbers bigint[], OUT entries bytea[])
LANGUAGE sql STABLE AS $$
    SELECT coalesce(array_agg(m.version ORDER BY m.position), '{}'), coalesce(array_agg(m.data ORDER BY m.position), '{}')
        FROM (SELECT position, message_id, version, data FROM wnc_schema.wnc_store_messages
            WHERE prefix = p_prefix AND room_id = p_room_id ORDER BY position DESC LIMIT p_limit) AS m
        WHERE (m.message_id = p_message_id OR m.message_id IS NULL)
            AND EXISTS (SELECT FROM wnc_schema.wnc_store_chats c WHERE c.prefix = p_prefix AND c.room_id = p_room_id
                AND (c.expires_at > clock_timestamp() OR c.expires_at IS NULL));
$$;

-- Replace the messages with an id, or remove them if `p_data` is NULL, and keep the last `p_limit` messages.
--
-- p_seen  the versions that wnc_store_candidates_v1 returned
-- p_own   the versions of those candidates that have the id
--
-- If the candidates have changed, nothing is written, and `numbers` and `entries` are the candidates.
CREATE OR REPLACE FUNCTION wnc_schema.wnc_store_edit_v1(
    p_prefix text, p_writer uuid, p_sequence bigint, p_until float8, p_channel text, p_payloads bytea[],
    p_room_id text, p_message_id text, p_seen bigint[], p_own bigint[], p_version bigint, p_data bytea,
    p_limit bigint, p_ttl bigint,
    OUT applied boolean, OUT numbers bigint[], OUT entries bytea[])
LANGUAGE plpgsql AS $$
DECLARE
    v_now timestamptz := wnc_schema.wnc_store_lock_v1('room', p_prefix, p_room_id);
BEGIN
    PERFORM FROM wnc_schema.wnc_store_chats WHERE prefix = p_prefix AND room_id = p_room_id FOR UPDATE;
    SELECT c.numbers, c.entries INTO numbers, entries
        FROM wnc_schema.wnc_store_candidates_v1(p_prefix, p_room_id, p_message_id, p_limit) AS c;
    applied := numbers = p_seen;
    IF NOT applied THEN
        RETURN;
    END IF;
    numbers := NULL;
    entries := NULL;
    PERFORM wnc_schema.wnc_store_trim_v1(p_prefix, p_room_id, p_limit);
    IF p_data IS NULL THEN
        DELETE FROM wnc_schema.wnc_store_messages
            WHERE prefix = p_prefix AND room_id = p_room_id AND version = ANY (p_own);
    ELSE
        UPDATE wnc_schema.wnc_store_messages SET message_id = p_message_id, version = p_version, data = p_data
            WHERE prefix = p_prefix AND room_id = p_room_id AND version = ANY (p_own);
    END IF;
    IF EXISTS (SELECT FROM wnc_schema.wnc_store_messages WHERE prefix = p_prefix AND room_id = p_room_id) THEN
        UPDATE wnc_schema.wnc_store_chats SET expires_at = v_now + p_ttl * interval '1 ms'
            WHERE prefix = p_prefix AND room_id = p_room_id;
    ELSE
        DELETE FROM wnc_schema.wnc_store_chats WHERE prefix = p_prefix AND room_id = p_room_id;
    END IF;
    PERFORM wnc_schema.wnc_store_applied_v1(p_prefix, p_writer, p_sequence, p_until, numbers, p_channel, p_payloads);
END $$;

-- Delete a chat. `applied` is whether there was one.
CREATE OR REPLACE FUNCTION wnc_schema.wnc_store_clear_v1(
    p_prefix text, p_writer uuid, p_sequence bigint, p_until float8, p_channel text, p_payloads bytea[], p_room_id text,
    OUT applied boolean, OUT numbers bigint[], OUT entries bytea[])
LANGUAGE plpgsql AS $$
DECLARE
    v_now timestamptz := wnc_schema.wnc_store_lock_v1('room', p_prefix, p_room_id);
BEGIN
    PERFORM FROM wnc_schema.wnc_store_chats WHERE prefix = p_prefix AND room_id = p_room_id
        AND (expires_at > v_now OR expires_at IS NULL) FOR UPDATE;
    applied := FOUND;
    PERFORM wnc_schema.wnc_store_drop_chat_v1(p_prefix, p_room_id);
    IF applied THEN
        PERFORM wnc_schema.wnc_store_applied_v1(p_prefix, p_writer, p_sequence, p_until, numbers, p_channel, p_payloads);
    END IF;
END $$;

-- Publish events.
CREATE OR REPLACE FUNCTION wnc_schema.wnc_store_publish_v1(
    p_prefix text, p_writer uuid, p_sequence bigint, p_until float8, p_channel text, p_payloads bytea[],
    OUT applied boolean, OUT numbers bigint[], OUT entries bytea[])
LANGUAGE plpgsql AS $$
BEGIN
    applied := true;
    PERFORM wnc_schema.wnc_store_applied_v1(p_prefix, p_writer, p_sequence, p_until, numbers, p_channel, p_payloads);
END $$;

-- Start or renew a lease, unless it is new and the key has `p_limit` leases (NULL: no limit).
--
-- `numbers` is the number of leases of the key.
CREATE OR REPLACE FUNCTION wnc_schema.wnc_store_acquire_v1(
    p_prefix text, p_writer uuid, p_sequence bigint, p_until float8, p_channel text, p_payloads bytea[],
    p_key text, p_connection_id text, p_ttl bigint, p_limit bigint,
    OUT applied boolean, OUT numbers bigint[], OUT entries bytea[])
LANGUAGE plpgsql AS $$
DECLARE
    v_now timestamptz := wnc_schema.wnc_store_lock_v1('lease', p_prefix, p_key);
    v_others bigint;
    v_is_renewal boolean;
BEGIN
    SELECT count(*) FILTER (WHERE connection_id <> p_connection_id),
            coalesce(bool_or(connection_id = p_connection_id), false)
        INTO v_others, v_is_renewal
        FROM wnc_schema.wnc_store_leases WHERE prefix = p_prefix AND key = p_key AND expires_at > v_now;
    applied := v_is_renewal OR p_limit IS NULL OR v_others < p_limit;
    IF NOT applied THEN
        numbers := ARRAY[v_others];
        RETURN;
    END IF;
    INSERT INTO wnc_schema.wnc_store_leases (prefix, key, connection_id, expires_at)
        VALUES (p_prefix, p_key, p_connection_id, v_now + p_ttl * interval '1 ms')
        ON CONFLICT (prefix, key, connection_id) DO UPDATE SET expires_at = excluded.expires_at;
    numbers := ARRAY[v_others + 1];
    PERFORM wnc_schema.wnc_store_applied_v1(p_prefix, p_writer, p_sequence, p_until, numbers, p_channel, p_payloads);
END $$;

-- End a lease, if it exists. `numbers` is the number of remaining leases of the key.
CREATE OR REPLACE FUNCTION wnc_schema.wnc_store_release_v1(
    p_prefix text, p_writer uuid, p_sequence bigint, p_until float8, p_channel text, p_payloads bytea[],
    p_key text, p_connection_id text,
    OUT applied boolean, OUT numbers bigint[], OUT entries bytea[])
LANGUAGE plpgsql AS $$
DECLARE
    v_now timestamptz := wnc_schema.wnc_store_lock_v1('lease', p_prefix, p_key);
BEGIN
    DELETE FROM wnc_schema.wnc_store_leases
        WHERE prefix = p_prefix AND key = p_key AND connection_id = p_connection_id;
    applied := FOUND;
    SELECT ARRAY[count(*)] INTO numbers
        FROM wnc_schema.wnc_store_leases WHERE prefix = p_prefix AND key = p_key AND expires_at > v_now;
    IF applied THEN
        PERFORM wnc_schema.wnc_store_applied_v1(p_prefix, p_writer, p_sequence, p_until, numbers, p_channel, p_payloads);
    END IF;
END $$;

-- Add `p_cost` to a count. Start a window of `p_window` milliseconds if none is running, or if the count never ends.
--
-- `numbers` are the count and the remaining milliseconds of the window. They are NULL if the stored value is not a count;
-- nothing is written then.
CREATE OR REPLACE FUNCTION wnc_schema.wnc_store_hit_v1(
    p_prefix text, p_writer uuid, p_sequence bigint, p_until float8, p_channel text, p_payloads bytea[],
    p_key text, p_cost bigint, p_window bigint,
    OUT applied boolean, OUT numbers bigint[], OUT entries bytea[])
LANGUAGE plpgsql AS $$
DECLARE
    v_now timestamptz := wnc_schema.wnc_store_lock_v1('hit', p_prefix, p_key);
    v_count text;
    v_expires_at timestamptz;
BEGIN
    SELECT count, expires_at INTO v_count, v_expires_at FROM wnc_schema.wnc_store_hits
        WHERE prefix = p_prefix AND key = p_key AND (expires_at > v_now OR expires_at IS NULL) FOR UPDATE;
    v_count := coalesce(v_count, '0');
    applied := v_count ~ '^(0|[1-9][0-9]{0,14})$';
    IF NOT applied THEN
        RETURN;
    END IF;
    v_count := (v_count::bigint + p_cost)::text;
    v_expires_at := coalesce(v_expires_at, v_now + p_window * interval '1 ms');
    INSERT INTO wnc_schema.wnc_store_hits (prefix, key, count, expires_at)
        VALUES (p_prefix, p_key, v_count, v_expires_at)
        ON CONFLICT (prefix, key) DO UPDATE SET count = excluded.count, expires_at = excluded.expires_at;
    numbers := ARRAY[v_count::bigint, ceil(extract(epoch FROM v_expires_at - v_now) * 1000)::bigint];
    PERFORM wnc_schema.wnc_store_applied_v1(p_prefix, p_writer, p_sequence, p_until, numbers, p_channel, p_payloads);
END $$;

-- Delete a count.
CREATE OR REPLACE FUNCTION wnc_schema.wnc_store_reset_v1(
    p_prefix text, p_writer uuid, p_sequence bigint, p_until float8, p_channel text, p_payloads bytea[], p_key text,
    OUT applied boolean, OUT numbers bigint[], OUT entries bytea[])
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wnc_schema.wnc_store_lock_v1('hit', p_prefix, p_key);
    DELETE FROM wnc_schema.wnc_store_hits WHERE prefix = p_prefix AND key = p_key;
    applied := FOUND;
    IF applied THEN
        PERFORM wnc_schema.wnc_store_applied_v1(p_prefix, p_writer, p_sequence, p_until, numbers, p_channel, p_payloads);
    END IF;
END $$;

-- Delete up to `p_limit` old rows of each table: records that expired before the current hour, and writers that no store
-- uses any more. Rows that another transaction locks are kept, so the function waits for nothing.
--
-- Returns the number of deleted rows of the table with the most.
CREATE OR REPLACE FUNCTION wnc_schema.wnc_store_purge_v1(p_prefix text, p_limit bigint) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    v_hour timestamp := date_trunc('hour', clock_timestamp() AT TIME ZONE 'UTC');
    v_rows bigint;
    v_most bigint;
BEGIN
    WITH old AS (SELECT room_id FROM wnc_schema.wnc_store_rooms
            WHERE prefix = p_prefix AND purge_after < v_hour ORDER BY purge_after LIMIT p_limit FOR UPDATE SKIP LOCKED)
        DELETE FROM wnc_schema.wnc_store_rooms r USING old WHERE r.prefix = p_prefix AND r.room_id = old.room_id;
    GET DIAGNOSTICS v_most = ROW_COUNT;

    WITH old AS (SELECT room_id FROM wnc_schema.wnc_store_chats
            WHERE prefix = p_prefix AND purge_after < v_hour ORDER BY purge_after LIMIT p_limit FOR UPDATE SKIP LOCKED),
        messages AS (DELETE FROM wnc_schema.wnc_store_messages m USING old
            WHERE m.prefix = p_prefix AND m.room_id = old.room_id)
        DELETE FROM wnc_schema.wnc_store_chats c USING old WHERE c.prefix = p_prefix AND c.room_id = old.room_id;
    GET DIAGNOSTICS v_rows = ROW_COUNT;
    v_most := greatest(v_most, v_rows);

    WITH old AS (SELECT key, connection_id FROM wnc_schema.wnc_store_leases
            WHERE prefix = p_prefix AND purge_after < v_hour ORDER BY purge_after LIMIT p_limit FOR UPDATE SKIP LOCKED)
        DELETE FROM wnc_schema.wnc_store_leases l USING old
            WHERE l.prefix = p_prefix AND l.key = old.key AND l.connection_id = old.connection_id;
    GET DIAGNOSTICS v_rows = ROW_COUNT;
    v_most := greatest(v_most, v_rows);

    WITH old AS (SELECT key FROM wnc_schema.wnc_store_hits
            WHERE prefix = p_prefix AND purge_after < v_hour ORDER BY purge_after LIMIT p_limit FOR UPDATE SKIP LOCKED)
        DELETE FROM wnc_schema.wnc_store_hits h USING old WHERE h.prefix = p_prefix AND h.key = old.key;
    GET DIAGNOSTICS v_rows = ROW_COUNT;
    v_most := greatest(v_most, v_rows);

    WITH old AS (SELECT writer FROM wnc_schema.wnc_store_writers
            WHERE prefix = p_prefix AND created_at < now() - interval '1 day' ORDER BY created_at LIMIT p_limit
            FOR UPDATE SKIP LOCKED)
        DELETE FROM wnc_schema.wnc_store_writers w USING old WHERE w.prefix = p_prefix AND w.writer = old.writer;
    GET DIAGNOSTICS v_rows = ROW_COUNT;
    RETURN greatest(v_most, v_rows);
END $$;
