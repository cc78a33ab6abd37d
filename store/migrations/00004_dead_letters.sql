-- +goose Up

-- The dead letters of one cause, page by page. A cause may be longer than a B-tree entry.
CREATE INDEX images_dead_letter_cause_idx ON images (md5(reason), id) WHERE state = 'dead_lettered';
