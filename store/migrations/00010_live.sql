-- +goose Up

-- What the live stream tells. Each statement that changes events or cameras, of any program, leaves rows in live_pending, in its own
-- transaction and without a position. Once they are committed, live_sequence gives them positions, one process at a time: so a
-- position never becomes visible below one that somebody has read already, however long the transaction of a row stays open.
CREATE TABLE live_pending (
    id        bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT live_pending_pkey PRIMARY KEY,
    kind      text   NOT NULL CONSTRAINT live_pending_kind_check
        CHECK (kind IN ('event', 'event_changed', 'events_removed', 'camera', 'resync')),
    event_ids bigint[], -- one for event and event_changed
    camera_id text
);

-- Positions have no gaps. Only the oldest are ever removed.
CREATE TABLE live_changes (
    position      bigint      CONSTRAINT live_changes_pkey PRIMARY KEY,
    kind          text        NOT NULL,
    event_ids     bigint[],
    camera_id     text,
    positioned_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- One row. It changes only when old positions are removed: the newest position is that of the last row of live_changes.
CREATE TABLE live_state (
    id      smallint NOT NULL DEFAULT 1 CONSTRAINT live_state_pkey PRIMARY KEY CONSTRAINT live_state_one_row_check CHECK (id = 1),
    epoch   text     NOT NULL, -- what positions of this database begin with
    origin  text     NOT NULL, -- the database that the epoch was made for: a copy of it gets one of its own
    removed bigint   NOT NULL DEFAULT 0 -- the newest position that is gone
);
INSERT INTO live_state (epoch, origin) VALUES (left(md5(gen_random_uuid()::text), 12), '');

-- 0: the sequencer waits to be notified; 1: it looks by itself all the time. Transactions that notify commit one after the other and
-- not together, which would make a flood of events three times as slow. A sequence, since it changes in place and at once.
CREATE SEQUENCE live_awake AS smallint MINVALUE 0 MAXVALUE 1 START 0;

-- Every name is written out, as for the counters. A statement that touches more than 1,000 events is told as one resync: whoever
-- follows reads the lists anew. SET LOCAL hsi.live = 'off' keeps a transaction quiet that says by itself, with a row of its own, what
-- it did.
-- +goose StatementBegin
DO $do$
DECLARE
    template constant text := $f$
        DECLARE touched bigint;
        BEGIN
            IF current_setting('hsi.live', true) = 'off' THEN RETURN NULL; END IF;
            SELECT count(*) INTO touched FROM (SELECT FROM %2$s LIMIT 1001) AS first_rows;
            IF touched = 0 THEN RETURN NULL; END IF;
            IF touched > 1000 THEN
                INSERT INTO %1$I.live_pending (kind) VALUES ('resync');
            ELSE
                INSERT INTO %1$I.live_pending (kind, event_ids) SELECT %3$s FROM %2$s;
            END IF;
            IF (SELECT last_value FROM %1$I.live_awake) = 0 THEN PERFORM pg_notify('hsi_live', ''); END IF;
            RETURN NULL;
        END $f$;
    camera constant text := $f$
        BEGIN
            INSERT INTO %1$I.live_pending (kind, camera_id) VALUES ('camera', %2$s.id);
            IF (SELECT last_value FROM %1$I.live_awake) = 0 THEN PERFORM pg_notify('hsi_live', ''); END IF;
            RETURN NULL;
        END $f$;
    truncated constant text := $f$
        BEGIN
            INSERT INTO %1$I.live_pending (kind) VALUES ('resync');
            IF (SELECT last_value FROM %1$I.live_awake) = 0 THEN PERFORM pg_notify('hsi_live', ''); END IF;
            RETURN NULL;
        END $f$;
    -- What a frame shows; the other columns are our own business.
    shown constant text := 'id, camera_id, started_at, ended_at, risk_score, risk_level, summary, reasoning, analyzer, reviewed, notes,
        detection_ids';
BEGIN
    EXECUTE format('CREATE FUNCTION events_live_inserted() RETURNS trigger LANGUAGE plpgsql AS %L',
        format(template, current_schema(), 'new_rows', $$'event', ARRAY[id]$$));
    EXECUTE format('CREATE FUNCTION events_live_updated() RETURNS trigger LANGUAGE plpgsql AS %L',
        format(template, current_schema(), format('(SELECT %1$s FROM new_rows EXCEPT SELECT %1$s FROM old_rows) AS changed', shown),
            $$'event_changed', ARRAY[id]$$));
    EXECUTE format('CREATE FUNCTION events_live_deleted() RETURNS trigger LANGUAGE plpgsql AS %L',
        format(template, current_schema(), 'old_rows', $$'events_removed', array_agg(id ORDER BY id)$$));
    EXECUTE format('CREATE FUNCTION events_live_truncated() RETURNS trigger LANGUAGE plpgsql AS %L', format(truncated, current_schema()));
    EXECUTE format('CREATE FUNCTION cameras_live_changed() RETURNS trigger LANGUAGE plpgsql AS %L', format(camera, current_schema(), 'NEW'));
    EXECUTE format('CREATE FUNCTION cameras_live_deleted() RETURNS trigger LANGUAGE plpgsql AS %L', format(camera, current_schema(), 'OLD'));

    -- Moves up to at_most committed rows, and returns how many, with where everything stands now. Each statement of the function sees
    -- what was committed when it began: those after the lock see all that earlier holders of it did.
    EXECUTE format('CREATE FUNCTION live_sequence(at_most integer, OUT moved bigint, OUT epoch text, OUT head bigint, OUT removed bigint)
        LANGUAGE plpgsql AS %L', format($f$
        BEGIN
            moved := 0;
            IF EXISTS (SELECT FROM %1$I.live_pending) THEN
                PERFORM pg_advisory_xact_lock(%2$s);
                WITH taken AS (
                    DELETE FROM %1$I.live_pending AS p USING (SELECT id FROM %1$I.live_pending ORDER BY id LIMIT at_most) AS next
                    WHERE p.id = next.id RETURNING p.*)
                INSERT INTO %1$I.live_changes (position, kind, event_ids, camera_id)
                SELECT coalesce((SELECT max(c.position) FROM %1$I.live_changes AS c), (SELECT s.removed FROM %1$I.live_state AS s))
                    + row_number() OVER (ORDER BY taken.id), taken.kind, taken.event_ids, taken.camera_id FROM taken;
                GET DIAGNOSTICS moved = ROW_COUNT;
            END IF;
            SELECT s.epoch, coalesce((SELECT max(c.position) FROM %1$I.live_changes AS c), s.removed), s.removed
                INTO epoch, head, removed FROM %1$I.live_state AS s;
        END $f$, current_schema(), x'6873692d6c6976'::bigint)); -- "hsi-liv" in ASCII
END
$do$;
-- +goose StatementEnd

CREATE TRIGGER events_live_inserted AFTER INSERT ON events REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION events_live_inserted();
CREATE TRIGGER events_live_updated AFTER UPDATE ON events REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION events_live_updated();
CREATE TRIGGER events_live_deleted AFTER DELETE ON events REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION events_live_deleted();
CREATE TRIGGER events_live_truncated AFTER TRUNCATE ON events FOR EACH STATEMENT EXECUTE FUNCTION events_live_truncated();
-- Of cameras nearly every change is a last_seen_at, which is none here: the condition costs less than a call.
CREATE TRIGGER cameras_live_inserted AFTER INSERT ON cameras FOR EACH ROW EXECUTE FUNCTION cameras_live_changed();
CREATE TRIGGER cameras_live_updated AFTER UPDATE ON cameras FOR EACH ROW
    WHEN ((OLD.name, OLD.status, OLD.deleted_at) IS DISTINCT FROM (NEW.name, NEW.status, NEW.deleted_at))
    EXECUTE FUNCTION cameras_live_changed();
CREATE TRIGGER cameras_live_deleted AFTER DELETE ON cameras FOR EACH ROW EXECUTE FUNCTION cameras_live_deleted();
CREATE TRIGGER cameras_live_truncated AFTER TRUNCATE ON cameras FOR EACH STATEMENT EXECUTE FUNCTION events_live_truncated();
