-- +goose Up

-- Marking a file for deletion spent most of its time on this index: sums as text are compared by the rules of a language.
DROP INDEX media_deletions_path_idx;
CREATE INDEX media_deletions_path_idx ON media_deletions USING hash (path);
