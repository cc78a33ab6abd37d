-- +goose Up

-- What the cameras saw is read by people: by time, narrowed by one thing or by a camera and one thing. Each of these has an index in
-- the order of the list, so that a page costs the same wherever it is and however few rows fit.
DROP INDEX events_camera_id_idx;
-- The first one also has what the summary counts, which then reads the index alone.
CREATE INDEX events_started_at_idx ON events (started_at, id) INCLUDE (camera_id, risk_level, reviewed);
CREATE INDEX events_camera_id_idx ON events (camera_id, started_at, id);
CREATE INDEX events_risk_level_idx ON events (risk_level, started_at, id);
CREATE INDEX events_camera_id_risk_level_idx ON events (camera_id, risk_level, started_at, id);
CREATE INDEX events_risk_score_idx ON events ((risk_score / 10), started_at, id);
CREATE INDEX events_camera_id_risk_score_idx ON events (camera_id, (risk_score / 10), started_at, id);
CREATE INDEX events_reviewed_idx ON events (reviewed, started_at, id);
CREATE INDEX events_camera_id_reviewed_idx ON events (camera_id, reviewed, started_at, id);
DROP INDEX detections_camera_id_idx;
CREATE INDEX detections_camera_id_idx ON detections (camera_id, detected_at, id);

ALTER TABLE cameras ADD COLUMN time_zone text; -- IANA name; null: the server's

-- Pixels of the picture that the box is measured in.
ALTER TABLE detections ADD COLUMN picture_width integer, ADD COLUMN picture_height integer;

-- Which kinds of objects an event has, for the filter. Kept by the triggers below, for rows of other programs too.
CREATE TABLE event_objects (
    event_id    bigint      NOT NULL CONSTRAINT event_objects_event_id_fkey REFERENCES events ON DELETE CASCADE,
    object_type text        NOT NULL,
    camera_id   text        NOT NULL,
    started_at  timestamptz NOT NULL,
    CONSTRAINT event_objects_pkey PRIMARY KEY (event_id, object_type)
);
CREATE INDEX event_objects_object_type_idx ON event_objects (object_type, started_at, event_id);
CREATE INDEX event_objects_camera_id_idx ON event_objects (camera_id, object_type, started_at, event_id);

-- A mark for each day in UTC that moves with every committed change of what the summary counts of it, whoever makes it: the sum over
-- the slots, which are those of the counters. Whoever reads it before the rows never keeps rows that are older than it.
CREATE TABLE event_days (
    day      date     NOT NULL,
    slot     smallint NOT NULL,
    revision bigint   NOT NULL DEFAULT 1,
    CONSTRAINT event_days_pkey PRIMARY KEY (day, slot)
) WITH (fillfactor = 50);

-- Other programs keep the ids of an event's detections as a JSON array in a text. What is none has none.
CREATE FUNCTION named_detections(detection_ids text) RETURNS bigint[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN detection_ids ~ '^\s*\[[\s,0-9]*\]\s*$'
        THEN ARRAY(SELECT found[1]::bigint FROM regexp_matches(detection_ids, '[0-9]{1,18}', 'g') AS found) ELSE '{}' END;

CREATE INDEX events_named_detections_idx ON events USING gin (named_detections(detection_ids)) WHERE detection_ids IS NOT NULL;

-- +goose StatementBegin
DO $do$
DECLARE
    s constant text := quote_ident(current_schema());
BEGIN
    EXECUTE format($f$
        CREATE FUNCTION note_event_objects(changed bigint[]) RETURNS void LANGUAGE plpgsql AS $b$
        BEGIN
            DELETE FROM %1$s.event_objects AS o USING %1$s.events AS e
            WHERE o.event_id = ANY (changed) AND e.id = o.event_id
              AND (o.camera_id, o.started_at) IS DISTINCT FROM (e.camera_id, e.started_at);
            INSERT INTO %1$s.event_objects (event_id, object_type, camera_id, started_at)
            SELECT e.id, t.object_type, e.camera_id, e.started_at
            FROM %1$s.events AS e CROSS JOIN LATERAL (
                SELECT lower(d.object_type) FROM %1$s.detections AS d WHERE d.event_id = e.id
                UNION
                SELECT lower(d.object_type) FROM %1$s.detections AS d WHERE d.id = ANY (%1$s.named_detections(e.detection_ids))
                UNION
                SELECT lower(btrim(word, ' "[]')) FROM regexp_split_to_table(e.object_types, ',') AS word
            ) AS t (object_type)
            WHERE e.id = ANY (changed) AND t.object_type <> '' AND length(t.object_type) <= 255
            ON CONFLICT DO NOTHING;
            -- For the words, where the row does not name them itself.
            UPDATE %1$s.events AS e SET object_types = t.names
            FROM (SELECT o.event_id, string_agg(o.object_type, ', ' ORDER BY o.object_type) AS names
                  FROM %1$s.event_objects AS o WHERE o.event_id = ANY (changed) GROUP BY o.event_id) AS t
            WHERE e.id = t.event_id AND e.object_types IS NULL;
        END $b$ $f$, s);

    EXECUTE format($f$
        CREATE FUNCTION event_objects_of_events() RETURNS trigger LANGUAGE plpgsql AS $b$
        DECLARE changed bigint[];
        BEGIN
            IF TG_OP = 'INSERT' THEN
                SELECT array_agg(id) INTO changed FROM new_rows WHERE analyzer IS NULL AND (detection_ids IS NOT NULL OR object_types IS NOT NULL);
            ELSE
                SELECT array_agg(n.id) INTO changed FROM new_rows AS n JOIN old_rows AS o ON o.id = n.id
                WHERE (n.camera_id, n.started_at, n.detection_ids, n.object_types)
                    IS DISTINCT FROM (o.camera_id, o.started_at, o.detection_ids, o.object_types);
            END IF;
            IF changed IS NOT NULL THEN PERFORM %1$s.note_event_objects(changed); END IF;
            RETURN NULL;
        END $b$ $f$, s);
    CREATE TRIGGER event_objects_inserted AFTER INSERT ON events REFERENCING NEW TABLE AS new_rows
        FOR EACH STATEMENT EXECUTE FUNCTION event_objects_of_events();
    CREATE TRIGGER event_objects_updated AFTER UPDATE ON events REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
        FOR EACH STATEMENT EXECUTE FUNCTION event_objects_of_events();

    EXECUTE format($f$
        CREATE FUNCTION event_objects_of_detections() RETURNS trigger LANGUAGE plpgsql AS $b$
        DECLARE changed bigint[];
        BEGIN
            SELECT array_agg(DISTINCT event_id) INTO changed FROM new_rows WHERE event_id IS NOT NULL;
            IF TG_OP = 'INSERT' THEN -- of another program, which may have named them before they came
                changed := changed || (SELECT array_agg(e.id) FROM %1$s.events AS e
                    WHERE e.detection_ids IS NOT NULL AND %1$s.named_detections(e.detection_ids) &&
                          (SELECT array_agg(id) FROM new_rows WHERE detector IS NULL));
            END IF;
            IF changed IS NOT NULL THEN PERFORM %1$s.note_event_objects(changed); END IF;
            RETURN NULL;
        END $b$ $f$, s);
    CREATE TRIGGER event_objects_inserted AFTER INSERT ON detections REFERENCING NEW TABLE AS new_rows
        FOR EACH STATEMENT EXECUTE FUNCTION event_objects_of_detections();
    CREATE TRIGGER event_objects_updated AFTER UPDATE ON detections REFERENCING NEW TABLE AS new_rows
        FOR EACH STATEMENT EXECUTE FUNCTION event_objects_of_detections();

    EXECUTE format($f$
        CREATE FUNCTION note_event_days() RETURNS trigger LANGUAGE plpgsql AS $b$
        DECLARE days date[]; free_slot integer;
        BEGIN
            CASE TG_OP
            WHEN 'INSERT' THEN
                SELECT array_agg(DISTINCT (started_at AT TIME ZONE 'UTC')::date) INTO days FROM new_rows;
            WHEN 'DELETE' THEN
                SELECT array_agg(DISTINCT (started_at AT TIME ZONE 'UTC')::date) INTO days FROM old_rows;
            WHEN 'UPDATE' THEN
                SELECT array_agg(DISTINCT (started_at AT TIME ZONE 'UTC')::date) INTO days FROM (
                    (SELECT id, started_at, camera_id, risk_level, reviewed FROM new_rows
                     EXCEPT SELECT id, started_at, camera_id, risk_level, reviewed FROM old_rows)
                    UNION ALL
                    (SELECT id, started_at, camera_id, risk_level, reviewed FROM old_rows
                     EXCEPT SELECT id, started_at, camera_id, risk_level, reviewed FROM new_rows)) AS changed;
            ELSE
                UPDATE %1$s.event_days SET revision = revision + 1;
                RETURN NULL;
            END CASE;
            IF days IS NULL THEN RETURN NULL; END IF;
            FOR i IN 0..15 LOOP
                free_slot := (pg_backend_pid() + i) %% 16;
                EXIT WHEN pg_try_advisory_xact_lock(TG_RELID::integer, free_slot);
            END LOOP;
            INSERT INTO %1$s.event_days AS d (day, slot) SELECT day, free_slot FROM unnest(days) AS day ORDER BY day
            ON CONFLICT (day, slot) DO UPDATE SET revision = d.revision + 1;
            RETURN NULL;
        END $b$ $f$, s);
    CREATE TRIGGER event_days_inserted AFTER INSERT ON events REFERENCING NEW TABLE AS new_rows
        FOR EACH STATEMENT EXECUTE FUNCTION note_event_days();
    CREATE TRIGGER event_days_updated AFTER UPDATE ON events REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
        FOR EACH STATEMENT EXECUTE FUNCTION note_event_days();
    CREATE TRIGGER event_days_deleted AFTER DELETE ON events REFERENCING OLD TABLE AS old_rows
        FOR EACH STATEMENT EXECUTE FUNCTION note_event_days();
    CREATE TRIGGER event_days_truncated AFTER TRUNCATE ON events FOR EACH STATEMENT EXECUTE FUNCTION note_event_days();

    -- The words of an event.
    EXECUTE format($f$
        CREATE FUNCTION events_words() RETURNS trigger LANGUAGE plpgsql AS $b$
        BEGIN
            NEW.search_vector := setweight(to_tsvector('pg_catalog.english', coalesce(NEW.summary, '')), 'A')
                || setweight(to_tsvector('pg_catalog.english', coalesce(NEW.object_types, '')), 'B')
                || setweight(to_tsvector('pg_catalog.english', coalesce(NEW.reasoning, '')), 'C');
            RETURN NEW;
        END $b$ $f$);
    CREATE TRIGGER events_words BEFORE INSERT OR UPDATE OF summary, object_types, reasoning, search_vector ON events
        FOR EACH ROW EXECUTE FUNCTION events_words();
END
$do$;
-- +goose StatementEnd

UPDATE events SET search_vector = NULL; -- the trigger has the words
CREATE INDEX events_search_vector_idx ON events USING gin (search_vector);
SELECT note_event_objects(array_agg(id)) FROM events;
