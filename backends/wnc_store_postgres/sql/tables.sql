-- Tables of wnc-store, schema version 1. The name of the schema replaces `wnc_schema`.
--
-- prefix      `key_prefix`, which separates the stores of one database
-- expires_at  the moment from which the record does not exist, by the server's clock; NULL: the record never expires
-- purge_after the hour of `expires_at`, in UTC. An index on it finds old rows. It seldom changes, so that a write of the
--             row changes no index (a heap-only update), which an index on `expires_at` would prevent.
-- version     a random number that is new for every state of a record. A sequence could return a number again after a
--             failover to a standby that has not received every commit.
--
-- Every write locks its room or its key with `wnc_store_lock_v1` first, and then rows in the order of these tables.

CREATE TABLE wnc_schema.wnc_store_meta (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    version integer NOT NULL
);

-- Rooms. `data` is the JSON exactly as it was written.
CREATE TABLE wnc_schema.wnc_store_rooms (
    prefix text COLLATE "C" NOT NULL,
    room_id text COLLATE "C" NOT NULL,
    version bigint NOT NULL DEFAULT hashtextextended(gen_random_uuid()::text, 0),
    expires_at timestamptz,
    purge_after timestamp GENERATED ALWAYS AS (date_trunc('hour', expires_at AT TIME ZONE 'UTC')) STORED,
    data bytea NOT NULL,
    PRIMARY KEY (prefix, room_id)
) WITH (fillfactor = 70);
CREATE INDEX wnc_store_rooms_purge ON wnc_schema.wnc_store_rooms (prefix, purge_after);

-- The index of active rooms. An entry stays until its room is deleted or a sweep removes it, also if its room expired.
CREATE TABLE wnc_schema.wnc_store_active (
    prefix text COLLATE "C" NOT NULL,
    room_id text COLLATE "C" NOT NULL,
    PRIMARY KEY (prefix, room_id)
);

-- Chats that have messages.
CREATE TABLE wnc_schema.wnc_store_chats (
    prefix text COLLATE "C" NOT NULL,
    room_id text COLLATE "C" NOT NULL,
    expires_at timestamptz,
    purge_after timestamp GENERATED ALWAYS AS (date_trunc('hour', expires_at AT TIME ZONE 'UTC')) STORED,
    PRIMARY KEY (prefix, room_id)
) WITH (fillfactor = 70);
CREATE INDEX wnc_store_chats_purge ON wnc_schema.wnc_store_chats (prefix, purge_after);

-- The messages of a chat in the order of `position`. `message_id` is NULL if the writer did not extract it from `data`.
CREATE TABLE wnc_schema.wnc_store_messages (
    prefix text COLLATE "C" NOT NULL,
    room_id text COLLATE "C" NOT NULL,
    position bigint NOT NULL,
    message_id text COLLATE "C",
    version bigint NOT NULL DEFAULT hashtextextended(gen_random_uuid()::text, 0),
    data bytea NOT NULL,
    PRIMARY KEY (prefix, room_id, position)
);

-- The leases of connections, each of a client, which is the key.
CREATE TABLE wnc_schema.wnc_store_leases (
    prefix text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    connection_id text COLLATE "C" NOT NULL,
    expires_at timestamptz NOT NULL,
    purge_after timestamp GENERATED ALWAYS AS (date_trunc('hour', expires_at AT TIME ZONE 'UTC')) STORED,
    PRIMARY KEY (prefix, key, connection_id)
) WITH (fillfactor = 70);
CREATE INDEX wnc_store_leases_purge ON wnc_schema.wnc_store_leases (prefix, purge_after);

-- The counts of rate limits in decimal digits. `expires_at` is the end of the window.
CREATE TABLE wnc_schema.wnc_store_hits (
    prefix text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    count text COLLATE "C" NOT NULL,
    expires_at timestamptz,
    purge_after timestamp GENERATED ALWAYS AS (date_trunc('hour', expires_at AT TIME ZONE 'UTC')) STORED,
    PRIMARY KEY (prefix, key)
) WITH (fillfactor = 70);
CREATE INDEX wnc_store_hits_purge ON wnc_schema.wnc_store_hits (prefix, purge_after);

-- Writers: what became of the last write of each. A store uses a writer for one write at a time, and numbers its writes.
-- After a lost connection, the store fences the writer: it waits for the transaction of the write, if there is one, reads
-- `sequence`, and sets `is_fenced`, so that the write cannot commit later. A store replaces its writers every hour.
CREATE TABLE wnc_schema.wnc_store_writers (
    prefix text COLLATE "C" NOT NULL,
    writer uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    sequence bigint NOT NULL,
    numbers bigint[],
    is_fenced boolean NOT NULL DEFAULT false,
    PRIMARY KEY (prefix, writer)
) WITH (fillfactor = 50);
CREATE INDEX wnc_store_writers_created ON wnc_schema.wnc_store_writers (prefix, created_at);

INSERT INTO wnc_schema.wnc_store_meta (version) VALUES (1);
