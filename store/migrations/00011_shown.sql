-- +goose Up

-- Pages of events are kept with their rows. The rows show what their events and cameras are, which
-- the live stream is told of in the transaction of each change, and also their detections and kinds
-- of objects: for these there is a mark of its own, that moves in the transaction of each change
-- but the removal of a detection alone. The mark is the sum over the slots, which are those of the
-- counters.
CREATE TABLE shown_revisions (
    slot     smallint CONSTRAINT shown_revisions_pkey PRIMARY KEY,
    revision bigint   NOT NULL DEFAULT 0
) WITH (fillfactor = 10);
INSERT INTO shown_revisions (slot) SELECT generate_series(0, 15);

-- +goose StatementBegin
DO $do$
DECLARE
    s constant text := quote_ident(current_schema());
BEGIN
    EXECUTE format($f$
        CREATE FUNCTION move_shown_revision() RETURNS void LANGUAGE plpgsql AS $b$
        DECLARE
            counted constant integer := %2$L::regclass::oid::integer;
            free_slot integer;
        BEGIN
            FOR i IN 0..15 LOOP
                free_slot := (pg_backend_pid() + i) %% 16;
                EXIT WHEN pg_try_advisory_xact_lock(counted, free_slot);
            END LOOP;
            UPDATE %1$s.shown_revisions SET revision = revision + 1 WHERE slot = free_slot;
        END $b$ $f$, s, s || '.events');

    EXECUTE format($f$
        CREATE OR REPLACE FUNCTION event_objects_of_events() RETURNS trigger
        LANGUAGE plpgsql AS $b$
        DECLARE changed bigint[];
        BEGIN
            IF TG_OP = 'INSERT' THEN
                SELECT array_agg(id) INTO changed FROM new_rows
                WHERE analyzer IS NULL AND (detection_ids IS NOT NULL OR object_types IS NOT NULL);
            ELSE
                SELECT array_agg(n.id) INTO changed
                FROM new_rows AS n JOIN old_rows AS o ON o.id = n.id
                WHERE (n.camera_id, n.started_at, n.detection_ids, n.object_types)
                    IS DISTINCT FROM (o.camera_id, o.started_at, o.detection_ids, o.object_types);
            END IF;
            IF changed IS NOT NULL THEN
                PERFORM %1$s.note_event_objects(changed);
                PERFORM %1$s.move_shown_revision();
            END IF;
            RETURN NULL;
        END $b$ $f$, s);

    -- Besides the events that detections come to, those that they leave.
    EXECUTE format($f$
        CREATE FUNCTION event_objects_of_moved_detections() RETURNS trigger
        LANGUAGE plpgsql AS $b$
        DECLARE changed bigint[];
        BEGIN
            SELECT array_agg(DISTINCT event_id) INTO changed FROM (
                (SELECT id, event_id, object_type FROM new_rows
                 EXCEPT SELECT id, event_id, object_type FROM old_rows)
                UNION ALL
                (SELECT id, event_id, object_type FROM old_rows
                 EXCEPT SELECT id, event_id, object_type FROM new_rows)) AS moved
            WHERE event_id IS NOT NULL;
            IF changed IS NOT NULL THEN
                PERFORM %1$s.note_event_objects(changed);
                PERFORM %1$s.move_shown_revision();
            END IF;
            RETURN NULL;
        END $b$ $f$, s);
    DROP TRIGGER event_objects_updated ON detections;
    CREATE TRIGGER event_objects_updated AFTER UPDATE ON detections
        REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
        FOR EACH STATEMENT EXECUTE FUNCTION event_objects_of_moved_detections();

    EXECUTE format($f$
        CREATE OR REPLACE FUNCTION event_objects_of_detections() RETURNS trigger
        LANGUAGE plpgsql AS $b$
        DECLARE changed bigint[];
        BEGIN
            SELECT array_agg(DISTINCT event_id) INTO changed FROM new_rows
            WHERE event_id IS NOT NULL;
            -- Of another program, which may have named them before they came.
            changed := changed || (SELECT array_agg(e.id) FROM %1$s.events AS e
                WHERE e.detection_ids IS NOT NULL AND %1$s.named_detections(e.detection_ids) &&
                      (SELECT array_agg(id) FROM (
                          SELECT id FROM new_rows
                          WHERE detector IS NULL AND event_id IS NULL LIMIT 10000) AS added));
            IF changed IS NOT NULL THEN
                PERFORM %1$s.note_event_objects(changed);
                PERFORM %1$s.move_shown_revision();
            END IF;
            RETURN NULL;
        END $b$ $f$, s);

    -- All that a frame or a list shows of the row: also batch_id and created_at.
    EXECUTE format($f$
        CREATE OR REPLACE FUNCTION events_live_updated() RETURNS trigger LANGUAGE plpgsql AS $b$
        DECLARE touched bigint[];
        BEGIN
            IF current_setting('hsi.live', true) = 'off' THEN RETURN NULL; END IF;
            SELECT array_agg(id) INTO touched FROM (
                SELECT id FROM (
                    SELECT id, batch_id, camera_id, started_at, ended_at, risk_score, risk_level,
                        summary, reasoning, analyzer, reviewed, notes, detection_ids, created_at
                    FROM new_rows
                    EXCEPT
                    SELECT id, batch_id, camera_id, started_at, ended_at, risk_score, risk_level,
                        summary, reasoning, analyzer, reviewed, notes, detection_ids, created_at
                    FROM old_rows) AS changed
                LIMIT 1001) AS first_rows;
            IF touched IS NULL THEN RETURN NULL; END IF;
            IF cardinality(touched) > 1000 THEN
                INSERT INTO %1$s.live_pending (kind) VALUES ('resync');
            ELSE
                INSERT INTO %1$s.live_pending (kind, event_ids)
                SELECT 'event_changed', ARRAY[id] FROM unnest(touched) AS id;
            END IF;
            IF (SELECT last_value FROM %1$s.live_awake) = 0 THEN
                PERFORM pg_notify('hsi_live', '');
            END IF;
            RETURN NULL;
        END $b$ $f$, s);
END
$do$;
-- +goose StatementEnd
