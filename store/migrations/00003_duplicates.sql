-- +goose Up

-- Who waits instead when the original of some bytes is lost? Asked once for each image that is.
CREATE INDEX images_duplicate_idx ON images (camera_id, sha256, id) WHERE reason = 'duplicate';
