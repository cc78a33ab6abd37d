-- +goose Up

-- A mark of the state of gpu_stats that changes with every committed statement that changes its rows, whoever sends it: the sum of
-- revision over the slots. It moves in the same transaction as the rows, so who reads the mark and then the rows never holds rows
-- that are older than the mark.
ALTER TABLE counters ADD COLUMN revision bigint NOT NULL DEFAULT 0;

-- +goose StatementBegin
DO $do$
DECLARE
    t constant text := 'gpu_stats';
    declarations constant text := 'DECLARE changed bigint; highest bigint; free_slot integer; ';
    take_slot constant text := $f$
        FOR i IN 0..15 LOOP
            free_slot := (pg_backend_pid() + i) % 16;
            EXIT WHEN pg_try_advisory_xact_lock(TG_RELID::integer, free_slot);
        END LOOP;
        $f$;
    count_up text;
    move_identity text;
BEGIN
    move_identity := format($f$
        IF highest > coalesce(pg_sequence_last_value('%1$I.%2$I'::regclass), 0) THEN
            PERFORM setval('%1$I.%2$I'::regclass, greatest(highest, pg_sequence_last_value('%1$I.%2$I'::regclass)));
        END IF;
        $f$, current_schema(), t || '_id_seq');
    count_up := 'IF changed = 0 THEN RETURN NULL; END IF; ' || take_slot || format($f$
        UPDATE %1$I.counters SET row_count = row_count + changed, revision = revision + 1 WHERE table_name = %2$L AND slot = free_slot;
        $f$, current_schema(), t);

    EXECUTE format('CREATE OR REPLACE FUNCTION %I() RETURNS trigger LANGUAGE plpgsql AS %L', t || '_inserted',
        declarations || 'BEGIN SELECT count(*), max(id) INTO changed, highest FROM new_rows; ' || move_identity || count_up || 'RETURN NULL; END');
    EXECUTE format('CREATE OR REPLACE FUNCTION %I() RETURNS trigger LANGUAGE plpgsql AS %L', t || '_deleted',
        declarations || 'BEGIN SELECT -count(*) INTO changed FROM old_rows; ' || count_up || 'RETURN NULL; END');
    EXECUTE format('CREATE OR REPLACE FUNCTION %I() RETURNS trigger LANGUAGE plpgsql AS %L', t || '_truncated',
        format('BEGIN UPDATE %I.counters SET row_count = 0, revision = revision + 1 WHERE table_name = %L; RETURN NULL; END', current_schema(), t));
    EXECUTE format('CREATE FUNCTION %I() RETURNS trigger LANGUAGE plpgsql AS %L', t || '_updated',
        declarations || 'BEGIN IF NOT EXISTS (SELECT FROM new_rows) THEN RETURN NULL; END IF; ' || take_slot || format(
            'UPDATE %I.counters SET revision = revision + 1 WHERE table_name = %L AND slot = free_slot; RETURN NULL; END', current_schema(), t));
    EXECUTE format('CREATE TRIGGER %I AFTER UPDATE ON %I REFERENCING NEW TABLE AS new_rows
        FOR EACH STATEMENT EXECUTE FUNCTION %I()', t || '_updated', t, t || '_updated');
END
$do$;
-- +goose StatementEnd
