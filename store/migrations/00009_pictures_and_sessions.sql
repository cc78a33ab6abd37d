-- +goose Up

-- The newest pictures of a camera.
CREATE INDEX images_camera_id_idx ON images (camera_id, seen_at, id);

-- Who may read, from a browser. Of the cookie and of the key there are only hashes: what is in this table opens nothing.
CREATE TABLE sessions (
    token_hash bytea       CONSTRAINT sessions_pkey PRIMARY KEY CONSTRAINT sessions_token_hash_check CHECK (length(token_hash) = 32),
    key_hash   bytea       NOT NULL CONSTRAINT sessions_key_hash_check CHECK (length(key_hash) = 32),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL
);
CREATE INDEX sessions_key_hash_idx ON sessions (key_hash, created_at);

-- One row. Browsers send a cookie to every port of a host: two installations on one machine must not take each other's.
CREATE TABLE session_cookie (
    id     smallint NOT NULL DEFAULT 1 CONSTRAINT session_cookie_pkey PRIMARY KEY CONSTRAINT session_cookie_one_row_check CHECK (id = 1),
    suffix text     NOT NULL CONSTRAINT session_cookie_suffix_check CHECK (suffix ~ '^[0-9a-f]{8}$')
);
INSERT INTO session_cookie (suffix) VALUES (left(md5(gen_random_uuid()::text), 8));
