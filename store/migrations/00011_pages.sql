-- +goose Up

-- Pages of the lists are kept behind the revisions of event_days too. They now move with everything
-- that a list can be filtered by: also with scores, and with the kinds of objects of an event.
-- +goose StatementBegin
DO $do$
DECLARE
    s constant text := quote_ident(current_schema());
BEGIN
    EXECUTE format($f$
        CREATE FUNCTION move_event_days(days date[]) RETURNS void LANGUAGE plpgsql AS $b$
        DECLARE
            counted constant integer := %2$L::regclass::oid::integer;
            free_slot integer;
        BEGIN
            FOR i IN 0..15 LOOP
                free_slot := (pg_backend_pid() + i) %% 16;
                EXIT WHEN pg_try_advisory_xact_lock(counted, free_slot);
            END LOOP;
            INSERT INTO %1$s.event_days AS d (day, slot)
            SELECT day, free_slot FROM unnest(days) AS day ORDER BY day
            ON CONFLICT (day, slot) DO UPDATE SET revision = d.revision + 1;
        END $b$ $f$, s, s || '.events');

    EXECUTE format($f$
        CREATE OR REPLACE FUNCTION note_event_objects(changed bigint[]) RETURNS void
        LANGUAGE plpgsql AS $b$
        DECLARE added bigint;
        BEGIN
            DELETE FROM %1$s.event_objects AS o USING %1$s.events AS e
            WHERE o.event_id = ANY (changed) AND e.id = o.event_id
              AND (o.camera_id, o.started_at) IS DISTINCT FROM (e.camera_id, e.started_at);
            INSERT INTO %1$s.event_objects (event_id, object_type, camera_id, started_at)
            SELECT e.id, t.object_type, e.camera_id, e.started_at
            FROM %1$s.events AS e CROSS JOIN LATERAL (
                SELECT lower(d.object_type) FROM %1$s.detections AS d WHERE d.event_id = e.id
                UNION
                SELECT lower(d.object_type) FROM %1$s.detections AS d
                WHERE d.id = ANY (%1$s.named_detections(e.detection_ids))
                UNION
                SELECT lower(btrim(word, ' "[]'))
                FROM regexp_split_to_table(e.object_types, ',') AS word
            ) AS t (object_type)
            WHERE e.id = ANY (changed) AND t.object_type <> '' AND length(t.object_type) <= 255
            ON CONFLICT DO NOTHING;
            GET DIAGNOSTICS added = ROW_COUNT;
            IF added > 0 THEN
                PERFORM %1$s.move_event_days(ARRAY(
                    SELECT DISTINCT (started_at AT TIME ZONE 'UTC')::date FROM %1$s.events
                    WHERE id = ANY (changed)));
            END IF;
            -- For the words, where the row does not name them itself.
            UPDATE %1$s.events AS e SET object_types = t.names
            FROM (SELECT o.event_id, string_agg(o.object_type, ', ' ORDER BY o.object_type) AS names
                  FROM %1$s.event_objects AS o WHERE o.event_id = ANY (changed)
                  GROUP BY o.event_id) AS t
            WHERE e.id = t.event_id AND e.object_types IS NULL;
        END $b$ $f$, s);

    EXECUTE format($f$
        CREATE OR REPLACE FUNCTION note_event_days() RETURNS trigger LANGUAGE plpgsql AS $b$
        DECLARE days date[];
        BEGIN
            CASE TG_OP
            WHEN 'INSERT' THEN
                SELECT array_agg(DISTINCT (started_at AT TIME ZONE 'UTC')::date) INTO days
                FROM new_rows;
            WHEN 'DELETE' THEN
                SELECT array_agg(DISTINCT (started_at AT TIME ZONE 'UTC')::date) INTO days
                FROM old_rows;
            WHEN 'UPDATE' THEN
                SELECT array_agg(DISTINCT (started_at AT TIME ZONE 'UTC')::date) INTO days FROM (
                    (SELECT id, started_at, camera_id, risk_level, risk_score, reviewed FROM new_rows
                     EXCEPT
                     SELECT id, started_at, camera_id, risk_level, risk_score, reviewed FROM old_rows)
                    UNION ALL
                    (SELECT id, started_at, camera_id, risk_level, risk_score, reviewed FROM old_rows
                     EXCEPT
                     SELECT id, started_at, camera_id, risk_level, risk_score, reviewed FROM new_rows)
                ) AS changed;
            ELSE
                UPDATE %1$s.event_days SET revision = revision + 1;
                RETURN NULL;
            END CASE;
            IF days IS NOT NULL THEN PERFORM %1$s.move_event_days(days); END IF;
            RETURN NULL;
        END $b$ $f$, s);
END
$do$;
-- +goose StatementEnd
