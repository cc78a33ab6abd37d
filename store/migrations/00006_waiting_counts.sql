-- +goose Up

-- How many images are not yet detected and how many closed batches have no event: asked for with every look at the telemetry, also
-- when hundreds of thousands wait. Kept like the other counters, by statements that move rows in or out of the waiting states.
-- +goose StatementBegin
DO $do$
DECLARE
    t text;
    waiting text;
    counter text;
    add_to_slot text;
BEGIN
    FOREACH t IN ARRAY ARRAY['images', 'batches'] LOOP
        waiting := CASE t WHEN 'images' THEN $$state IN ('seen', 'queued', 'detecting')$$ ELSE $$state IN ('closed', 'queued', 'analyzing')$$ END;
        counter := t || '_waiting';
        add_to_slot := format($f$
            IF changed = 0 THEN RETURN NULL; END IF;
            FOR i IN 0..15 LOOP
                free_slot := (pg_backend_pid() + i) %% 16;
                EXIT WHEN pg_try_advisory_xact_lock(TG_RELID::integer, free_slot);
            END LOOP;
            UPDATE %1$I.counters SET row_count = row_count + changed WHERE table_name = %2$L AND slot = free_slot;
            RETURN NULL;
            $f$, current_schema(), counter);

        EXECUTE format('CREATE FUNCTION %I() RETURNS trigger LANGUAGE plpgsql AS %L', t || '_waiting_inserted',
            'DECLARE changed bigint; free_slot integer; BEGIN SELECT count(*) INTO changed FROM new_rows WHERE ' || waiting || ';' || add_to_slot || 'END');
        EXECUTE format('CREATE FUNCTION %I() RETURNS trigger LANGUAGE plpgsql AS %L', t || '_waiting_updated',
            'DECLARE changed bigint; free_slot integer; BEGIN
                SELECT (SELECT count(*) FROM new_rows WHERE ' || waiting || ') - (SELECT count(*) FROM old_rows WHERE ' || waiting || ') INTO changed;'
            || add_to_slot || 'END');
        EXECUTE format('CREATE FUNCTION %I() RETURNS trigger LANGUAGE plpgsql AS %L', t || '_waiting_deleted',
            'DECLARE changed bigint; free_slot integer; BEGIN SELECT -count(*) INTO changed FROM old_rows WHERE ' || waiting || ';' || add_to_slot || 'END');
        EXECUTE format('CREATE FUNCTION %I() RETURNS trigger LANGUAGE plpgsql AS %L', t || '_waiting_truncated',
            format('BEGIN UPDATE %I.counters SET row_count = 0 WHERE table_name = %L; RETURN NULL; END', current_schema(), counter));
        EXECUTE format('CREATE TRIGGER %1$I AFTER INSERT ON %2$I REFERENCING NEW TABLE AS new_rows
            FOR EACH STATEMENT EXECUTE FUNCTION %1$I()', t || '_waiting_inserted', t);
        EXECUTE format('CREATE TRIGGER %1$I AFTER UPDATE ON %2$I REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
            FOR EACH STATEMENT EXECUTE FUNCTION %1$I()', t || '_waiting_updated', t);
        EXECUTE format('CREATE TRIGGER %1$I AFTER DELETE ON %2$I REFERENCING OLD TABLE AS old_rows
            FOR EACH STATEMENT EXECUTE FUNCTION %1$I()', t || '_waiting_deleted', t);
        EXECUTE format('CREATE TRIGGER %1$I AFTER TRUNCATE ON %2$I
            FOR EACH STATEMENT EXECUTE FUNCTION %1$I()', t || '_waiting_truncated', t);
        EXECUTE format('INSERT INTO counters (table_name, slot, row_count)
            SELECT %1$L, slot, CASE WHEN slot = 0 THEN (SELECT count(*) FROM %2$I WHERE %3$s) ELSE 0 END FROM generate_series(0, 15) AS slot',
            counter, t, waiting);
    END LOOP;
END
$do$;
-- +goose StatementEnd
