-- +goose Up

-- The folders of files and what was last counted in them. id is also in the folder's marker file, so that an unmounted or
-- exchanged disk is noticed; in_use becomes true after the marker was written. The cameras' folder has no marker.
CREATE TABLE media_folders (
    kind       text        CONSTRAINT media_folders_pkey PRIMARY KEY
        CONSTRAINT media_folders_kind_check CHECK (kind IN ('thumbnail', 'clip', 'image')),
    id         text,
    in_use     boolean     NOT NULL DEFAULT false,
    file_count bigint,
    size_bytes bigint,
    counted_at timestamptz -- when file_count and size_bytes were true
);

-- Is a file still named by a row? Asked for each file before it is removed. Paths may be longer than a B-tree entry.
CREATE INDEX detections_thumbnail_path_idx ON detections USING hash (thumbnail_path) WHERE thumbnail_path IS NOT NULL;
CREATE INDEX events_clip_path_idx ON events USING hash (clip_path) WHERE clip_path IS NOT NULL;
-- Retention: originals of expired images, and detections that have no event.
CREATE INDEX images_expired_idx ON images (id) WHERE state = 'expired';
CREATE INDEX detections_without_event_idx ON detections (detected_at, id) WHERE event_id IS NULL;
