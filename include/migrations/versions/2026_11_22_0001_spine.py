"""The spine: tokens, schedules, definitions, the ledger, callback tasks.

Revision ID: 0001
"""

from __future__ import annotations

from typing import Any

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TOKENS = """
CREATE TABLE token (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        text NOT NULL CONSTRAINT token_name_length CHECK (length(name) BETWEEN 1 AND 200),
    secret_hash bytea NOT NULL CONSTRAINT token_secret_hash_sha256 CHECK (length(secret_hash) = 32),
    apis        text[],     -- null: every API
    projects    text[],     -- null: every project
    created_at  timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz,
    revoked_at  timestamptz
);
"""

SCHEDULES = """
CREATE TABLE schedule (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind         text NOT NULL CONSTRAINT schedule_kind
                 CHECK (kind IN ('callback', 'timer', 'billing', 'maintenance')),
    expression   text NOT NULL,
    timezone     text NOT NULL,
    dag_id       text NOT NULL CONSTRAINT schedule_dag_id_unique UNIQUE,
    description  text NOT NULL,
    active       boolean NOT NULL DEFAULT false,
    active_since timestamptz,
    shards       integer NOT NULL DEFAULT 1 CONSTRAINT schedule_shards CHECK (shards BETWEEN 1 AND 64),
    -- false while the DAG processor has not been asked to look at the latest change
    announced    boolean NOT NULL DEFAULT true,
    changed_at   timestamptz NOT NULL DEFAULT now(),     -- came, went, or got more shards
    created_at   timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT schedule_unique UNIQUE (kind, expression, timezone),
    CONSTRAINT schedule_active_since CHECK (NOT active OR active_since IS NOT NULL)
);
CREATE INDEX schedule_unannounced ON schedule (id) WHERE NOT announced;
CREATE INDEX schedule_changed ON schedule (changed_at);

CREATE TABLE definition (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind          text NOT NULL CONSTRAINT definition_kind
                  CHECK (kind IN ('callback', 'timer', 'billing', 'maintenance')),
    schedule_id   bigint NOT NULL REFERENCES schedule,
    project_id    text,
    name          text NOT NULL CONSTRAINT definition_name_length CHECK (length(name) BETWEEN 1 AND 255),
    description   text,
    enabled       boolean NOT NULL,
    active_since  timestamptz NOT NULL,
    due_at        timestamptz,    -- one-shots only: their single instant
    spent         boolean NOT NULL DEFAULT false,   -- one-shots only: the instant is in the ledger
    expires_at    timestamptz,
    misfire       text NOT NULL CONSTRAINT definition_misfire
                  CHECK (misfire IN ('run', 'fire_once', 'skip', 'fire_all')),
    misfire_grace interval NOT NULL,
    overlap       text NOT NULL CONSTRAINT definition_overlap CHECK (overlap IN ('allow', 'skip', 'queue')),
    revision      integer NOT NULL DEFAULT 1,
    created_at    timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL,
    deleted_at    timestamptz,
    CONSTRAINT definition_spent_is_one_shot CHECK (due_at IS NOT NULL OR NOT spent)
);
CREATE UNIQUE INDEX definition_name_unique ON definition (kind, coalesce(project_id, ''), name)
    WHERE deleted_at IS NULL;
CREATE INDEX definition_live ON definition (schedule_id, id)
    WHERE enabled AND deleted_at IS NULL AND NOT spent;
CREATE INDEX definition_schedule ON definition (schedule_id, id) WHERE deleted_at IS NULL;

CREATE TABLE callback_task (
    definition_id bigint PRIMARY KEY REFERENCES definition ON DELETE CASCADE,
    module        integer NOT NULL,
    type          smallint NOT NULL CONSTRAINT callback_task_type CHECK (type BETWEEN 1 AND 7),
    start_time    text NOT NULL,
    timezone      text NOT NULL,
    url           text NOT NULL,
    method        text NOT NULL CONSTRAINT callback_task_method
                  CHECK (method IN ('get', 'post', 'rpc', 'put', 'patch', 'delete', 'head')),
    resp_regexp   text,
    body          text,
    body_type     smallint NOT NULL CONSTRAINT callback_task_body_type CHECK (body_type IN (1, 2)),
    redo_delays   integer[] NOT NULL CONSTRAINT callback_task_redo CHECK (cardinality(redo_delays) <= 20),
    timeout       double precision NOT NULL CONSTRAINT callback_task_timeout CHECK (timeout > 0),
    headers       jsonb NOT NULL DEFAULT '{}',
    secret        text      -- encrypted with CARILLON_SECRET_KEY
);
"""

LEDGER = """
CREATE SEQUENCE claimer_id AS integer CYCLE;

CREATE SEQUENCE execution_id;
CREATE TABLE execution (
    id              bigint NOT NULL DEFAULT nextval('execution_id'),
    definition_id   bigint NOT NULL REFERENCES definition,
    schedule_id     bigint NOT NULL REFERENCES schedule,   -- whose runs serve it
    due_at          timestamptz NOT NULL,
    origin          text NOT NULL CONSTRAINT execution_origin CHECK (origin IN ('scheduled', 'manual')),
    state           text NOT NULL CONSTRAINT execution_state CHECK
                    (state IN ('pending', 'running', 'retrying', 'succeeded', 'failed', 'skipped', 'missed')),
    reason          text,
    -- a long outage is written as one row that stands for all its older instants
    covers_since    timestamptz,
    covers_count    integer NOT NULL DEFAULT 1 CONSTRAINT execution_covers CHECK (covers_count >= 1),
    attempts        integer NOT NULL DEFAULT 0 CONSTRAINT execution_attempts CHECK (attempts >= 0),
    retries_used    integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz,
    claimed_by      integer,
    claimed_at      timestamptz,
    run_id          text,
    run_try         integer NOT NULL DEFAULT 0,
    lateness_ms     double precision,      -- first byte sent minus due_at, of the first attempt
    finished_at     timestamptz,
    created_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (id, due_at),
    CONSTRAINT execution_once UNIQUE (definition_id, due_at, origin),
    CONSTRAINT execution_claim CHECK ((state = 'running') = (claimed_by IS NOT NULL)),
    CONSTRAINT execution_next_attempt
        CHECK ((state IN ('pending', 'running', 'retrying')) = (next_attempt_at IS NOT NULL)),
    CONSTRAINT execution_finished
        CHECK ((state IN ('succeeded', 'failed', 'skipped', 'missed')) = (finished_at IS NOT NULL))
) PARTITION BY RANGE (due_at);
CREATE INDEX execution_open ON execution (schedule_id, next_attempt_at)
    WHERE state IN ('pending', 'running', 'retrying');
CREATE INDEX execution_open_by_definition ON execution (definition_id, due_at)
    WHERE state IN ('pending', 'running', 'retrying');
CREATE INDEX execution_by_state ON execution (state, due_at);
CREATE INDEX execution_by_due ON execution (due_at, id);
CREATE TABLE execution_rest PARTITION OF execution DEFAULT;

CREATE TABLE attempt (
    execution_id  bigint NOT NULL,
    due_at        timestamptz NOT NULL,
    number        integer NOT NULL CONSTRAINT attempt_number CHECK (number >= 1),
    definition_id bigint NOT NULL,
    run_type      smallint NOT NULL CONSTRAINT attempt_run_type CHECK (run_type IN (1, 2)),
    state         text NOT NULL CONSTRAINT attempt_state CHECK (state IN ('started', 'succeeded', 'failed')),
    begin_at      timestamptz NOT NULL,
    end_at        timestamptz,
    url           text,       -- what was really sent; null while started
    body          text,
    status        integer,
    response      text,
    error         text,
    PRIMARY KEY (execution_id, due_at, number),
    CONSTRAINT attempt_end CHECK ((state = 'started') = (end_at IS NULL))
) PARTITION BY RANGE (due_at);
CREATE INDEX attempt_by_definition ON attempt (definition_id, begin_at DESC);
CREATE TABLE attempt_rest PARTITION OF attempt DEFAULT;

-- Monthly partitions of the ledger that cover [first, last]; those that exist stay as they are.
CREATE FUNCTION ensure_ledger_partitions(first timestamptz, last timestamptz) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    month   timestamptz := date_trunc('month', first, 'UTC');
    made    integer := 0;
    parent  text;
    part    text;
BEGIN
    WHILE month <= last LOOP
        FOREACH parent IN ARRAY ARRAY['execution', 'attempt'] LOOP
            part := parent || to_char(month AT TIME ZONE 'UTC', '_YYYY_MM');
            IF to_regclass(part) IS NULL THEN
                EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)',
                               part, parent, month, month + interval '1 month');
                made := made + 1;
            END IF;
        END LOOP;
        month := month + interval '1 month';
    END LOOP;
    RETURN made;
END $$;
SELECT ensure_ledger_partitions(now() - interval '1 month', now() + interval '3 months');
"""


def upgrade() -> None:
    # The driver's own connection: SQLAlchemy would take the % of format() for a parameter.
    connection: Any = op.get_bind().connection.driver_connection
    for script in (TOKENS, SCHEDULES, LEDGER):
        connection.execute(script)


def downgrade() -> None:
    raise NotImplementedError("history is linear: restore a backup instead")
