"""Batch tasks over many devices: tasks, sub-tasks, waves, files, packages; events; access keys.

Revision ID: 0004
"""

from __future__ import annotations

from typing import Any

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TASKS = """
-- A batch task of document 004. The spellings of its words are those of the wire.
CREATE TABLE batch_task (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    task_id         text NOT NULL CONSTRAINT batch_task_id_unique UNIQUE
                    CONSTRAINT batch_task_id_form CHECK (task_id ~ '^[0-9a-f]{24}$'),
    project_id      text NOT NULL,
    app_id          text,
    task_name       text NOT NULL
                    CONSTRAINT batch_task_name_length CHECK (length(task_name) BETWEEN 1 AND 128),
    task_type       text NOT NULL CONSTRAINT batch_task_type CHECK (task_type IN
                    ('firmwareUpgrade', 'softwareUpgrade', 'moduleUpgrade', 'createCommands',
                     'createAsyncCommands', 'createMessages', 'updateDeviceShadows', 'createDevices',
                     'updateDevices', 'deleteDevices', 'freezeDevices', 'unfreezeDevices')),
    task_mode       text CONSTRAINT batch_task_mode CHECK (task_mode = 'GATEWAY'),
    need_confirm    boolean NOT NULL DEFAULT false,
    task_ext_info   jsonb,
    targets         text[],             -- as they were sent, whichever source counts
    targets_filter  jsonb,
    document        jsonb,
    document_source text,               -- file_id; the rows are copied on expansion, the file may go
    schedule_time   timestamptz,        -- null: at once
    retry_count     smallint CONSTRAINT batch_task_retry_count CHECK (retry_count BETWEEN 0 AND 5),
    retry_interval  interval CONSTRAINT batch_task_retry_interval CHECK (retry_interval >= interval '0'),
    rollout         jsonb,              -- `x_rollout` as it was checked
    status          text NOT NULL DEFAULT 'Initializing' CONSTRAINT batch_task_status CHECK (status IN
                    ('Initializing', 'Waitting', 'Processing', 'Success', 'Fail', 'PartialSuccess', 'Stopped',
                     'Stopping')),
    status_desc     text,
    paused_at       timestamptz,
    pause_reason    text,
    -- Progress, kept by the trigger below.
    total           integer NOT NULL DEFAULT 0,
    waitting        integer NOT NULL DEFAULT 0,
    processing      integer NOT NULL DEFAULT 0,
    success         integer NOT NULL DEFAULT 0,
    fail            integer NOT NULL DEFAULT 0,
    fail_wait_retry integer NOT NULL DEFAULT 0,
    stopped         integer NOT NULL DEFAULT 0,
    removed         integer NOT NULL DEFAULT 0,
    dispatched      integer NOT NULL DEFAULT 0,     -- attempts begun
    paced_until     timestamptz,                    -- when what its rate allows was last used up
    judged_success  integer NOT NULL DEFAULT 0,     -- at the last resume: an abort is judged by the rest
    judged_fail     integer NOT NULL DEFAULT 0,
    open_wave       smallint NOT NULL DEFAULT 1,    -- sub-tasks of later waves wait
    -- Airflow: runs that are wanted, and how many of them were started.
    runs_wanted     smallint NOT NULL DEFAULT 1,
    runs_started    smallint NOT NULL DEFAULT 0,
    run_failure     text,                           -- why the last try to start one failed
    created_by      text,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    started_at      timestamptz,
    finished_at     timestamptz,
    CONSTRAINT batch_task_retry_pair CHECK ((retry_count IS NULL) = (retry_interval IS NULL)),
    CONSTRAINT batch_task_progress CHECK
        (total = waitting + processing + success + fail + fail_wait_retry + stopped + removed
         AND least(waitting, processing, success, fail, fail_wait_retry, stopped, removed) >= 0),
    CONSTRAINT batch_task_finished CHECK
        ((finished_at IS NOT NULL) = (status IN ('Success', 'Fail', 'PartialSuccess', 'Stopped')))
);
CREATE INDEX batch_task_of_project ON batch_task (project_id, task_id);
CREATE INDEX batch_task_by_type ON batch_task (project_id, task_type, task_id);
CREATE INDEX batch_task_by_status ON batch_task (project_id, task_type, status, task_id);
CREATE INDEX batch_task_of_app ON batch_task (project_id, app_id, task_type, task_id);
CREATE INDEX batch_task_runless ON batch_task (id) WHERE runs_wanted > runs_started;
CREATE INDEX batch_task_unexpanded ON batch_task (id) WHERE status = 'Initializing';

CREATE FUNCTION batch_task_may(old_status text, new_status text) RETURNS boolean LANGUAGE sql IMMUTABLE
RETURN CASE old_status
    WHEN 'Initializing' THEN new_status IN ('Waitting', 'Processing', 'Fail', 'Stopping', 'Stopped')
    WHEN 'Waitting' THEN
        new_status IN ('Processing', 'Success', 'Fail', 'PartialSuccess', 'Stopping', 'Stopped')
    WHEN 'Processing' THEN new_status IN ('Success', 'Fail', 'PartialSuccess', 'Stopping', 'Stopped')
    WHEN 'Stopping' THEN new_status = 'Stopped'
    WHEN 'Fail' THEN new_status = 'Processing'
    WHEN 'PartialSuccess' THEN new_status = 'Processing'
    ELSE false END;

CREATE FUNCTION refuse_batch_transition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% % may not go from % to %', TG_TABLE_NAME, NEW.id, OLD.status, NEW.status
        USING ERRCODE = 'check_violation', CONSTRAINT = TG_TABLE_NAME || '_transition';
END $$;
CREATE TRIGGER batch_task_transition BEFORE UPDATE OF status ON batch_task
    FOR EACH ROW WHEN (OLD.status <> NEW.status AND NOT batch_task_may(OLD.status, NEW.status))
    EXECUTE FUNCTION refuse_batch_transition();

-- A wave of a rollout; a task without `x_rollout.waves` has none.
CREATE TABLE batch_wave (
    batch_id    bigint NOT NULL REFERENCES batch_task ON DELETE CASCADE,
    wave        smallint NOT NULL CONSTRAINT batch_wave_number CHECK (wave >= 1),
    size        integer NOT NULL,
    opened_at   timestamptz,
    approved_at timestamptz,
    approved_by text,
    PRIMARY KEY (batch_id, wave)
);
"""

SUBTASKS = """
-- What a batch task does with one target.
CREATE TABLE batch_subtask (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    batch_id     bigint NOT NULL REFERENCES batch_task ON DELETE CASCADE,
    target       text NOT NULL,         -- device_id; of createDevices product_id and node_id
    input        jsonb,                 -- the row of the file
    wave         smallint NOT NULL DEFAULT 1,
    status       text NOT NULL DEFAULT 'Waitting' CONSTRAINT batch_subtask_status CHECK (status IN
                 ('Waitting', 'Processing', 'Success', 'Fail', 'FailWaitRetry', 'Stopped', 'Removed')),
    attempt      integer NOT NULL DEFAULT 0,    -- tries begun; each has a request id of its own
    retries_left smallint NOT NULL DEFAULT 0,
    phase        text CONSTRAINT batch_subtask_phase
                 CHECK (phase IN ('online', 'version', 'download', 'verify')),
    phase_ends_at timestamptz,          -- when the present phase has taken too long
    wake_at      timestamptz,           -- when it wants attention next; null: not before somebody says so
    window_ends_at timestamptz,         -- of the maintenance window that `wake_at` lies in
    claimed_by   bigint,                -- the process that has it in hand
    progress     smallint CONSTRAINT batch_subtask_progress CHECK (progress BETWEEN 0 AND 100),
    output       text,
    error_code   text,
    error_msg    text,
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    finished_at  timestamptz,
    CONSTRAINT batch_subtask_once UNIQUE (batch_id, target),
    CONSTRAINT batch_subtask_claim CHECK (claimed_by IS NULL OR status = 'Processing'),
    CONSTRAINT batch_subtask_finished CHECK
        ((finished_at IS NOT NULL) = (status IN ('Success', 'Fail', 'Stopped', 'Removed')))
);
CREATE INDEX batch_subtask_of_batch ON batch_subtask (batch_id, id);
CREATE INDEX batch_subtask_by_status ON batch_subtask (batch_id, status, id);
-- Without the first one, which for most tasks is all: an index more is paid for with each result.
CREATE INDEX batch_subtask_of_wave ON batch_subtask (batch_id, wave, id) WHERE wave > 1;
-- What goes on with an attempt is looked for apart from what begins one: a rate holds only the latter.
CREATE INDEX batch_subtask_due ON batch_subtask (batch_id, (status = 'Processing'), wake_at, id)
    WHERE wake_at IS NOT NULL AND claimed_by IS NULL;
CREATE INDEX batch_subtask_claimed ON batch_subtask (batch_id, claimed_by) WHERE claimed_by IS NOT NULL;

CREATE FUNCTION batch_subtask_may(old_status text, new_status text) RETURNS boolean LANGUAGE sql IMMUTABLE
RETURN CASE old_status
    WHEN 'Waitting' THEN new_status IN ('Processing', 'Fail', 'Stopped', 'Removed')
    WHEN 'Processing' THEN new_status IN ('Success', 'Fail', 'FailWaitRetry', 'Stopped', 'Removed')
    WHEN 'FailWaitRetry' THEN new_status IN ('Waitting', 'Processing', 'Fail', 'Stopped', 'Removed')
    WHEN 'Fail' THEN new_status = 'Waitting'
    WHEN 'Stopped' THEN new_status = 'Waitting'
    ELSE false END;
CREATE TRIGGER batch_subtask_transition BEFORE UPDATE OF status ON batch_subtask
    FOR EACH ROW WHEN (OLD.status <> NEW.status AND NOT batch_subtask_may(OLD.status, NEW.status))
    EXECUTE FUNCTION refuse_batch_transition();

-- Progress by delta: a statement over thousands of sub-tasks changes the row of their task once. Whoever
-- changes sub-tasks locks that row first, so that two never wait for each other.
CREATE FUNCTION count_batch_subtasks(changes jsonb) RETURNS void LANGUAGE sql AS $$
    UPDATE batch_task b
    SET total = b.total + c.total, waitting = b.waitting + c.waitting,
        processing = b.processing + c.processing, success = b.success + c.success, fail = b.fail + c.fail,
        fail_wait_retry = b.fail_wait_retry + c.fail_wait_retry, stopped = b.stopped + c.stopped,
        removed = b.removed + c.removed
    FROM (SELECT e.batch_id, sum(n) AS total,
                 coalesce(sum(n) FILTER (WHERE e.status = 'Waitting'), 0) AS waitting,
                 coalesce(sum(n) FILTER (WHERE e.status = 'Processing'), 0) AS processing,
                 coalesce(sum(n) FILTER (WHERE e.status = 'Success'), 0) AS success,
                 coalesce(sum(n) FILTER (WHERE e.status = 'Fail'), 0) AS fail,
                 coalesce(sum(n) FILTER (WHERE e.status = 'FailWaitRetry'), 0) AS fail_wait_retry,
                 coalesce(sum(n) FILTER (WHERE e.status = 'Stopped'), 0) AS stopped,
                 coalesce(sum(n) FILTER (WHERE e.status = 'Removed'), 0) AS removed
          FROM jsonb_to_recordset(changes) AS e (batch_id bigint, status text, n integer)
          GROUP BY 1) c
    WHERE b.id = c.batch_id
$$;
CREATE FUNCTION count_inserted_subtasks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM count_batch_subtasks(coalesce(jsonb_agg(c), '[]')) FROM
        (SELECT batch_id, status, count(*) AS n FROM new_rows GROUP BY 1, 2) c;
    RETURN NULL;
END $$;
CREATE FUNCTION count_changed_subtasks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM count_batch_subtasks(jsonb_agg(c)) FROM
        (SELECT batch_id, status, sum(n) AS n
         FROM (SELECT batch_id, status, count(*) AS n FROM new_rows GROUP BY 1, 2
               UNION ALL
               SELECT batch_id, status, -count(*) FROM old_rows GROUP BY 1, 2) both_sides
         GROUP BY 1, 2 HAVING sum(n) <> 0) c
    HAVING count(*) > 0;
    RETURN NULL;
END $$;
CREATE TRIGGER batch_subtasks_inserted AFTER INSERT ON batch_subtask
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION count_inserted_subtasks();
-- Of all columns: Postgres allows no transition tables where some are named.
CREATE TRIGGER batch_subtasks_changed AFTER UPDATE ON batch_subtask
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION count_changed_subtasks();

-- One open upgrade a device: who comes second fails. What the device says is kept here until whoever performs
-- the sub-task looks at it: the sub-task itself may be in somebody's hand just then.
CREATE TABLE device_upgrade (
    device_id   text PRIMARY KEY,
    subtask_id  bigint NOT NULL CONSTRAINT device_upgrade_once UNIQUE
                CONSTRAINT device_upgrade_subtask REFERENCES batch_subtask ON DELETE CASCADE,
    attempt     integer NOT NULL,       -- of the sub-task; a retry begins anew
    stage       text NOT NULL CONSTRAINT device_upgrade_stage
                CHECK (stage IN ('online', 'version', 'result', 'verify')),
    since       timestamptz NOT NULL,   -- when this attempt began
    kind        text NOT NULL CONSTRAINT device_upgrade_kind
                CHECK (kind IN ('firmware', 'software', 'module')),
    module_name text,
    target      text NOT NULL,          -- the version it shall have
    asked       integer NOT NULL DEFAULT 0,
    version     text,                   -- what it said in this stage
    result_code smallint,
    result_text text,
    progress    smallint,
    heard_at    timestamptz,
    device_time timestamptz,            -- of what was heard last, by the device's own clock
    news        boolean NOT NULL DEFAULT false  -- something was heard that nobody has looked at
);

-- A device is let go when its sub-task ends, whoever ends it.
CREATE FUNCTION let_devices_go() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM device_upgrade u USING new_rows n WHERE u.subtask_id = n.id AND n.finished_at IS NOT NULL;
    RETURN NULL;
END $$;
CREATE TRIGGER batch_subtasks_ended AFTER UPDATE ON batch_subtask
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION let_devices_go();

-- News of a device is looked at at once: where its sub-task is in hand just now, as soon as that is put down.
CREATE FUNCTION look_at_news() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM device_upgrade u WHERE u.subtask_id = NEW.id AND u.news) THEN
        NEW.wake_at := NEW.updated_at;
        PERFORM pg_notify('carillon_batch', NEW.batch_id::text);
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER batch_subtask_news BEFORE UPDATE ON batch_subtask FOR EACH ROW
    WHEN (NEW.phase IS NOT NULL AND NEW.status = 'Processing' AND NEW.claimed_by IS NULL
          AND coalesce(NEW.wake_at > NEW.updated_at, true))
    EXECUTE FUNCTION look_at_news();
"""

FILES = """
-- An uploaded list of targets; kept for an hour.
CREATE TABLE batch_file (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    file_id     text NOT NULL CONSTRAINT batch_file_id_unique UNIQUE,
    project_id  text NOT NULL,
    owner       text NOT NULL,          -- whose ten files it is among
    file_name   text NOT NULL CONSTRAINT batch_file_name_length CHECK (length(file_name) BETWEEN 1 AND 60),
    columns     text[] NOT NULL,
    rows        integer NOT NULL,
    uploaded_at timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL
);
CREATE INDEX batch_file_of_project ON batch_file (project_id, owner, id);
CREATE INDEX batch_file_expiry ON batch_file (expires_at);
CREATE TABLE batch_file_row (
    file_id bigint NOT NULL REFERENCES batch_file ON DELETE CASCADE,
    row     integer NOT NULL,           -- as people count them: the header is row 1
    cells   jsonb NOT NULL,             -- text by column; empty cells are left out
    PRIMARY KEY (file_id, row)
);

CREATE TABLE ota_package (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    package_id      text NOT NULL CONSTRAINT ota_package_id_unique UNIQUE
                    CONSTRAINT ota_package_id_form CHECK (package_id ~ '^[0-9a-f]{24}$'),
    project_id      text NOT NULL,
    app_id          text NOT NULL,
    package_type    text NOT NULL CONSTRAINT ota_package_type
                    CHECK (package_type IN ('softwarePackage', 'firmwarePackage', 'modulePackage')),
    product_id      text,
    module_name     text,
    version         text NOT NULL CONSTRAINT ota_package_version CHECK (length(version) BETWEEN 1 AND 256),
    support_source_versions text[],
    description     text,
    custom_info     text,
    file_location   jsonb NOT NULL,
    created_at      timestamptz NOT NULL
);
CREATE INDEX ota_package_of_project ON ota_package (project_id, package_type, package_id);
CREATE UNIQUE INDEX ota_package_once ON ota_package
    (project_id, app_id, package_type, coalesce(product_id, ''), coalesce(module_name, ''), version);
"""

EVENTS = """
-- Who wants to hear of what happens in a project: a signed webhook each.
CREATE TABLE event_subscription (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id text NOT NULL,
    url        text NOT NULL,
    secret     text NOT NULL,           -- encrypted with CARILLON_SECRET_KEY
    resources  text[] NOT NULL,         -- such as `batchtask`
    created_at timestamptz NOT NULL,
    deleted_at timestamptz
);
CREATE INDEX event_subscription_of_project ON event_subscription (project_id) WHERE deleted_at IS NULL;

-- What happened, once for each who wants to hear of it; written in the transaction in which it happened.
CREATE TABLE event (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subscription_id bigint NOT NULL REFERENCES event_subscription,
    webhook_id      text NOT NULL DEFAULT 'evt_' || replace(gen_random_uuid()::text, '-', ''),
    resource        text NOT NULL,
    action          text NOT NULL,      -- what happened to it, such as `update`
    subject         text NOT NULL,      -- which one it happened to: what happens to one is told in order
    body            jsonb NOT NULL,     -- `notify_data.body`
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    attempts        integer NOT NULL DEFAULT 0,
    -- Null: delivered, or given up. While it is being told: when whoever does so is taken to be dead.
    next_at         timestamptz DEFAULT clock_timestamp(),
    delivered_at    timestamptz,
    last_error      text,
    CONSTRAINT event_delivered CHECK (delivered_at IS NULL OR next_at IS NULL)
);
CREATE INDEX event_due ON event (subscription_id, next_at, id) WHERE next_at IS NOT NULL;
CREATE INDEX event_turn ON event (subscription_id, subject, id) WHERE next_at IS NOT NULL;
CREATE INDEX event_of_subscription ON event (subscription_id, id);

-- Have all who want to hear of it told that something happened in a project.
CREATE FUNCTION tell_event(in_project text, of_resource text, what text, about text, told jsonb)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO event (subscription_id, resource, action, subject, body)
    SELECT s.id, of_resource, what, about, told
    FROM event_subscription s
    WHERE s.project_id = in_project AND s.deleted_at IS NULL AND of_resource = ANY(s.resources);
    IF FOUND THEN
        NOTIFY carillon_event;
    END IF;
END $$;

CREATE FUNCTION tell_batch_status() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM tell_event(
        NEW.project_id, 'batchtask', 'update', NEW.task_id,
        jsonb_build_object('app_id', NEW.app_id, 'task_id', NEW.task_id, 'task_type', NEW.task_type,
                           'status', NEW.status, 'status_desc', coalesce(NEW.status_desc, '')));
    RETURN NULL;
END $$;
CREATE TRIGGER batch_task_status_told AFTER UPDATE OF status ON batch_task
    FOR EACH ROW WHEN (OLD.status <> NEW.status) EXECUTE FUNCTION tell_batch_status();
"""

ACCESS_KEYS = """
-- AK/SK: a request is signed with the secret key, so that one is kept, encrypted with CARILLON_SECRET_KEY.
ALTER TABLE token
    ADD COLUMN access_key text CONSTRAINT token_access_key_unique UNIQUE,
    ADD COLUMN secret_key text,
    ADD CONSTRAINT token_key_pair CHECK ((access_key IS NULL) = (secret_key IS NULL));
"""


def upgrade() -> None:
    # The driver's own connection, as in 0001.
    connection: Any = op.get_bind().connection.driver_connection
    for script in (TASKS, SUBTASKS, FILES, EVENTS, ACCESS_KEYS):
        connection.execute(script)


def downgrade() -> None:
    raise NotImplementedError("history is linear: restore a backup instead")
