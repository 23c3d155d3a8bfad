"""Maintenance: projects, the state of their objects, tasks, handling; statistics and their samples.

Revision ID: 0005
"""

from __future__ import annotations

from typing import Any

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# Projects of one cycle share a schedule. Its expression says when they are looked at, which is not when they
# are due: cycles that are looked at together are told apart by what they are.
SCHEDULES = """
ALTER TABLE schedule ADD COLUMN cycle text NOT NULL DEFAULT '';  -- maintenance only: `every_2_days`
ALTER TABLE schedule
    DROP CONSTRAINT schedule_unique,
    ADD CONSTRAINT schedule_unique UNIQUE (kind, expression, timezone, cycle),
    ADD CONSTRAINT schedule_cycle CHECK ((kind = 'maintenance') = (cycle <> ''));
"""

# The same rules are in include/maintenance/cycles.py.
CYCLES = """
-- The beginning of the hour, of the day for longer units: what is due has no finer moment (ADR 0021).
CREATE FUNCTION maintenance_start(moment timestamptz, unit text, zone text)
RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT date_trunc(CASE unit WHEN '小时' THEN 'hour' ELSE 'day' END, moment, zone)
$$;

-- A moment moved by so many units: hours as they pass, the others by the clocks of a zone. A day that a month
-- has not is its last one. The beginning of a day stays one, where a day has no midnight, too.
CREATE FUNCTION maintenance_shift(moment timestamptz, num integer, unit text, zone text)
RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE unit
        WHEN '小时' THEN moment + make_interval(hours => num)
        ELSE (date_trunc(
                  CASE WHEN moment = date_trunc('day', moment, zone) THEN 'day' ELSE 'microseconds' END,
                  moment AT TIME ZONE zone)
              + CASE unit
                    WHEN '日' THEN make_interval(days => num)
                    WHEN '周' THEN make_interval(days => 7 * num)
                    WHEN '月' THEN make_interval(months => num)
                    WHEN '年' THEN make_interval(months => 12 * num)
                END) AT TIME ZONE zone
    END
$$;

-- Point `k` of the plan that begins at an anchor.
CREATE FUNCTION maintenance_due(anchor timestamptz, k integer, num integer, unit text, zone text)
RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT maintenance_shift(maintenance_start(anchor, unit, zone), k * num, unit, zone)
$$;

-- From when something due is overdue: when its hour, or its day and the grace in days after it, are over.
CREATE FUNCTION maintenance_late(due timestamptz, unit text, grace integer, zone text)
RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT maintenance_shift(
        maintenance_shift(maintenance_start(due, unit, zone), 1,
                          CASE unit WHEN '小时' THEN '小时' ELSE '日' END, zone),
        grace, '日', zone)
$$;

-- How much growth before the threshold of a statistic its notice comes: a machine runs 24 hours a day at
-- most; what is not counted in hours goes on as it grew lately.
CREATE FUNCTION maintenance_ahead(num integer, unit text, counted_in text, daily_growth numeric)
RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT num * CASE unit WHEN '月' THEN 30 ELSE 1 END
           * CASE WHEN lower(counted_in) IN ('小时', 'h', 'hour', 'hours', '') THEN 24
                  ELSE coalesce(daily_growth, 0) END
$$;

-- The last point of the plan that is not after a moment: 0, the anchor itself, where there is none.
-- As an SQL function, which cannot be inlined, it took five times as long.
CREATE FUNCTION maintenance_passed(anchor timestamptz, num integer, unit text, zone text, at timestamptz)
RETURNS integer LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
    start CONSTANT timestamp := anchor AT TIME ZONE zone;
    wall CONSTANT timestamp := at AT TIME ZONE zone;
    guess integer;
BEGIN
    -- By lengths it is one off at most: months by the calendar, days where clocks were changed.
    guess := floor(CASE
        WHEN unit IN ('月', '年') THEN
            ((extract(year FROM wall) - extract(year FROM start)) * 12
             + extract(month FROM wall) - extract(month FROM start))
            / (num * CASE unit WHEN '年' THEN 12 ELSE 1 END)
        ELSE extract(epoch FROM at - maintenance_start(anchor, unit, zone))
             / (num * CASE unit WHEN '小时' THEN 3600 WHEN '日' THEN 86400 ELSE 604800 END)
        END);
    RETURN greatest(0, guess + CASE
        WHEN maintenance_due(anchor, guess + 1, num, unit, zone) <= at THEN 1
        WHEN maintenance_due(anchor, guess, num, unit, zone) > at THEN -1
        ELSE 0 END);
END $$;
"""

PROJECTS = """
CREATE SEQUENCE maintenance_uid START 1764000000000;    -- 13 digits, never one twice: later ones are greater

-- `definition.name` is the uid; `definition.enabled` whether it is active; `definition.project_id` its
-- organisation, null where tokens have none.
CREATE TABLE maintenance_project (
    definition_id    bigint PRIMARY KEY REFERENCES definition ON DELETE CASCADE,
    name             text NOT NULL CONSTRAINT maintenance_project_name CHECK (length(name) BETWEEN 1 AND 255),
    alias            text NOT NULL,
    cycle_type       text NOT NULL CONSTRAINT maintenance_project_type
                     CHECK (cycle_type IN ('自然时间周期', '统计周期')),
    statistics_id    text NOT NULL DEFAULT '',
    period_num       numeric(20, 6) NOT NULL CONSTRAINT maintenance_project_period CHECK (period_num > 0),
    period_unit      text NOT NULL CONSTRAINT maintenance_project_unit
                     CHECK (period_unit IN ('', '年', '月', '周', '日', '小时')),
    notice_num       integer NOT NULL CONSTRAINT maintenance_project_notice CHECK (notice_num >= 0),
    notice_unit      text NOT NULL CONSTRAINT maintenance_project_notice_unit
                     CHECK (notice_unit IN ('月', '日')),
    guide            text NOT NULL,
    schedule_mode    text NOT NULL DEFAULT 'floating' CONSTRAINT maintenance_project_mode
                     CHECK (schedule_mode IN ('floating', 'fixed')),
    grace_days       integer NOT NULL DEFAULT 0 CONSTRAINT maintenance_project_grace CHECK (grace_days >= 0),
    timezone         text NOT NULL,
    created_by       bigint NOT NULL DEFAULT 0,
    last_modified_by bigint NOT NULL DEFAULT 0,
    CONSTRAINT maintenance_project_natural CHECK
        (cycle_type = '统计周期' OR (period_unit <> '' AND period_num = trunc(period_num)))
);

-- Where each object of a project stands. What is due at anchor + occurrence × period, in time or in units of
-- the statistic, is kept worked out.
CREATE TABLE maintenance_state (
    definition_id bigint NOT NULL REFERENCES maintenance_project ON DELETE CASCADE,
    object_id     text NOT NULL CONSTRAINT maintenance_state_object
                  CHECK (length(object_id) BETWEEN 1 AND 128),
    position      integer NOT NULL,             -- in the project's list of objects
    anchor_at     timestamptz,                  -- null: it was never started
    anchor_total  numeric(30, 6),               -- statistics: growth at the anchor, null: no sample yet
    occurrence    integer NOT NULL DEFAULT 1 CONSTRAINT maintenance_state_occurrence CHECK (occurrence >= 1),
    due_at        timestamptz,                  -- natural cycles
    notice_at     timestamptz,
    due_total     numeric(30, 6),               -- statistics
    open_task_id  bigint,
    PRIMARY KEY (definition_id, object_id),
    CONSTRAINT maintenance_state_started CHECK
        (anchor_at IS NOT NULL OR (due_at IS NULL AND due_total IS NULL AND open_task_id IS NULL)),
    CONSTRAINT maintenance_state_noticed CHECK ((due_at IS NULL) = (notice_at IS NULL))
);
CREATE INDEX maintenance_state_due ON maintenance_state (definition_id, notice_at) WHERE open_task_id IS NULL;
CREATE INDEX maintenance_state_no_data ON maintenance_state (definition_id)
    WHERE anchor_at IS NOT NULL AND due_at IS NULL AND anchor_total IS NULL;
"""

TASKS = """
-- A snapshot of its project and object, taken when it was noticed.
CREATE TABLE maintenance_task (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    uid              text NOT NULL DEFAULT 'MTT' || nextval('maintenance_uid')
                     CONSTRAINT maintenance_task_uid_unique UNIQUE,
    definition_id    bigint NOT NULL REFERENCES maintenance_project,
    organization_id  text NOT NULL,
    object_id        text NOT NULL,
    state            text NOT NULL DEFAULT 'noticed' CONSTRAINT maintenance_task_state CHECK
                     (state IN ('noticed', 'due', 'overdue', 'stopped', 'handled', 'ignored', 'cancelled')),
    description      text NOT NULL DEFAULT '',
    project_uid      text NOT NULL,
    project_name     text NOT NULL,
    project_alias    text NOT NULL,
    object_name      text NOT NULL,
    object_alias     text NOT NULL,
    cycle_type       text NOT NULL,
    statistics_id    text NOT NULL,
    period_num       numeric(20, 6) NOT NULL,
    period_unit      text NOT NULL,
    notice_num       integer NOT NULL,
    notice_unit      text NOT NULL,
    guide            text NOT NULL,
    due_at           timestamptz,       -- as planned; statistics: when it was seen to be due
    due_total        numeric(30, 6),    -- statistics: at which growth it is due
    due_since        timestamptz,       -- seen to be due
    overdue_since    timestamptz,
    closed_at        timestamptz,
    missed           integer NOT NULL DEFAULT 0,       -- points of the plan that passed while it was open
    below_threshold  boolean NOT NULL DEFAULT false,   -- its statistic was corrected to less than that
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL,
    created_by       bigint NOT NULL DEFAULT 0,
    last_modified_by bigint NOT NULL DEFAULT 0,
    CONSTRAINT maintenance_task_closed
        CHECK ((state IN ('handled', 'ignored', 'cancelled')) = (closed_at IS NOT NULL))
);
CREATE UNIQUE INDEX maintenance_task_one_open ON maintenance_task (definition_id, object_id)
    WHERE state IN ('noticed', 'due', 'overdue', 'stopped');
CREATE INDEX maintenance_task_history ON maintenance_task (definition_id, object_id, created_at);
CREATE INDEX maintenance_task_waiting ON maintenance_task (definition_id, state)
    WHERE state IN ('noticed', 'due', 'overdue', 'stopped');

CREATE FUNCTION check_maintenance_task_transition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT (CASE OLD.state
        WHEN 'noticed' THEN NEW.state IN ('due', 'overdue', 'stopped', 'handled', 'ignored', 'cancelled')
        WHEN 'due' THEN NEW.state IN ('overdue', 'stopped', 'handled', 'ignored', 'cancelled')
        WHEN 'overdue' THEN NEW.state IN ('stopped', 'handled', 'ignored', 'cancelled')
        WHEN 'stopped' THEN NEW.state IN ('noticed', 'due', 'overdue', 'handled', 'ignored', 'cancelled')
        ELSE false END)
    THEN
        RAISE EXCEPTION 'a maintenance task cannot go from % to %', OLD.state, NEW.state
            USING ERRCODE = 'check_violation', CONSTRAINT = 'maintenance_task_transition';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER maintenance_task_transition BEFORE UPDATE OF state ON maintenance_task
    FOR EACH ROW WHEN (OLD.state <> NEW.state) EXECUTE FUNCTION check_maintenance_task_transition();

CREATE TABLE maintenance_handle (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    uid              text NOT NULL DEFAULT 'MTH' || nextval('maintenance_uid')
                     CONSTRAINT maintenance_handle_uid_unique UNIQUE,
    task_id          bigint NOT NULL CONSTRAINT maintenance_handle_once UNIQUE REFERENCES maintenance_task,
    organization_id  text NOT NULL,
    kind             text NOT NULL CONSTRAINT maintenance_handle_kind CHECK (kind IN ('HANDLE', 'IGNORE')),
    description      text NOT NULL,
    handler_ids      jsonb NOT NULL,                -- as sent: numbers or texts
    handler_keys     text[] NOT NULL,               -- the same as texts, to be looked up
    handler_names    text[] NOT NULL,
    fee              numeric(20, 6) NOT NULL CONSTRAINT maintenance_handle_fee CHECK (fee >= 0),
    result           text NOT NULL,
    images           jsonb NOT NULL,                -- as sent: text or list
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL,
    created_by       bigint NOT NULL DEFAULT 0,
    last_modified_by bigint NOT NULL DEFAULT 0
);
CREATE INDEX maintenance_handle_keys ON maintenance_handle USING gin (handler_keys);

CREATE TABLE maintenance_attachment (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    organization_id text NOT NULL,
    name            text NOT NULL,
    content_type    text NOT NULL,
    content         bytea NOT NULL,
    created_at      timestamptz NOT NULL
);
"""

OBJECTS = """
-- What is maintained, where somebody told its name; others are shown by their id.
CREATE TABLE maintenance_object (
    organization_id text NOT NULL,
    object_id       text NOT NULL,
    name            text NOT NULL,
    alias           text NOT NULL,
    updated_at      timestamptz NOT NULL,
    PRIMARY KEY (organization_id, object_id)
);
"""

STATISTICS = """
CREATE TABLE statistic (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    organization_id text NOT NULL,
    uid             text NOT NULL CONSTRAINT statistic_uid CHECK (uid ~ '^[A-Za-z0-9_-]{1,64}$'),
    name            text NOT NULL,
    unit            text NOT NULL DEFAULT '小时',
    kind            text NOT NULL DEFAULT 'cumulative' CONSTRAINT statistic_kind
                    CHECK (kind IN ('cumulative', 'delta')),
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    CONSTRAINT statistic_unique UNIQUE (organization_id, uid)
);

CREATE TABLE statistic_sample (
    statistic_id bigint NOT NULL REFERENCES statistic ON DELETE CASCADE,
    object_id    text NOT NULL,
    at           timestamptz NOT NULL,
    value        numeric(30, 6) NOT NULL CONSTRAINT statistic_sample_value CHECK (value >= 0),
    total        numeric(30, 6) NOT NULL,           -- growth since the first sample: it never falls
    reset        boolean NOT NULL DEFAULT false,    -- the counter fell: it began anew
    PRIMARY KEY (statistic_id, object_id, at)
);

-- The last of each object.
CREATE TABLE statistic_value (
    statistic_id bigint NOT NULL REFERENCES statistic ON DELETE CASCADE,
    object_id    text NOT NULL,
    at           timestamptz NOT NULL,
    value        numeric(30, 6) NOT NULL,
    total        numeric(30, 6) NOT NULL,
    daily_growth numeric(30, 6),                    -- of 30 days; null: from fewer than 3 samples
    PRIMARY KEY (statistic_id, object_id)
);
"""

FORECAST = """
-- When something has grown by so much at its growth by a day, which is more than 0; in 300 years at latest.
CREATE FUNCTION maintenance_forecast(since timestamptz, growth numeric, daily_growth numeric)
RETURNS timestamptz LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT since + make_interval(secs => least(9.4e9, 86400 * greatest(0, growth) / daily_growth)::float8)
$$;
"""

# What lists of document 002 are asked for. Trigrams are made of letters and digits, in a database whose
# LC_CTYPE is C of those of ASCII: patterns without any are compared row by row.
LISTS = """
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE INDEX maintenance_project_uids ON definition USING gin (name gin_trgm_ops) WHERE kind = 'maintenance';
CREATE INDEX maintenance_project_words ON maintenance_project USING gin
    (name gin_trgm_ops, alias gin_trgm_ops);
CREATE INDEX maintenance_state_of_object ON maintenance_state (object_id);
-- Of objects alone: each column costs every change of a state, and projects do not tell tasks apart.
CREATE INDEX maintenance_task_words ON maintenance_task USING gin
    (object_id gin_trgm_ops, object_name gin_trgm_ops, object_alias gin_trgm_ops);
CREATE INDEX maintenance_task_listed ON maintenance_task (organization_id, created_at DESC, uid)
    WHERE state IN ('noticed', 'due', 'overdue', 'stopped');
CREATE INDEX maintenance_handle_listed ON maintenance_handle (organization_id, created_at DESC, uid);
CREATE INDEX maintenance_task_looked_back ON maintenance_task (organization_id, created_at DESC, id DESC);
"""

# One statement moves many tasks, and nothing is done row by row where nobody wants to hear of it.
EVENTS = """
CREATE FUNCTION tell_maintenance_task(t maintenance_task) RETURNS void LANGUAGE sql AS $$
    SELECT tell_event(t.organization_id, 'maintenance.task', t.state, t.uid, jsonb_build_object(
        'task_id', t.uid, 'state', t.state, 'project_id', t.project_uid, 'project_name', t.project_name,
        'object_id', t.object_id, 'object_name', t.object_name, 'cycle_type', t.cycle_type,
        'due_at', t.due_at, 'missed', t.missed))
$$;
CREATE FUNCTION tell_maintenance_tasks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM tell_maintenance_task(t)
    FROM maintenance_task t
    JOIN moved USING (id)
    JOIN (SELECT DISTINCT project_id FROM event_subscription
           WHERE deleted_at IS NULL AND 'maintenance.task' = ANY(resources)) s
      ON s.project_id = t.organization_id
    WHERE t.state IN ('noticed', 'due', 'overdue', 'handled', 'ignored')
      AND (TG_ARGV[0] = 'new' OR moved.state <> t.state);
    RETURN NULL;
END $$;
-- `moved`: the new rows, or what they were.
CREATE TRIGGER maintenance_task_told AFTER INSERT ON maintenance_task
    REFERENCING NEW TABLE AS moved FOR EACH STATEMENT EXECUTE FUNCTION tell_maintenance_tasks('new');
CREATE TRIGGER maintenance_task_moved_told AFTER UPDATE ON maintenance_task
    REFERENCING OLD TABLE AS moved FOR EACH STATEMENT EXECUTE FUNCTION tell_maintenance_tasks('was');
"""


def upgrade() -> None:
    # The driver's own connection, as in 0001.
    connection: Any = op.get_bind().connection.driver_connection
    for script in (SCHEDULES, CYCLES, PROJECTS, TASKS, OBJECTS, STATISTICS, FORECAST, LISTS, EVENTS):
        connection.execute(script)


def downgrade() -> None:
    raise NotImplementedError("history is linear: restore a backup instead")
