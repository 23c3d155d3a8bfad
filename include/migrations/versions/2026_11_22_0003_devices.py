"""Devices: registry, groups, bindings, shadows, commands, messages; weekly timers.

Revision ID: 0003
"""

from __future__ import annotations

from typing import Any

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# A timer is due on some days of the week only; timers of one time of day share a schedule and so a DAG.
DEFINITIONS = """
-- Bit n stands for ISO weekday n + 1; null for every day.
ALTER TABLE definition ADD COLUMN weekdays smallint
    CONSTRAINT definition_weekdays CHECK (weekdays BETWEEN 1 AND 127);
DROP INDEX definition_name_unique;
CREATE UNIQUE INDEX definition_name_unique ON definition (kind, coalesce(project_id, ''), name)
    WHERE deleted_at IS NULL AND kind NOT IN ('billing', 'timer');
"""

REGISTRY = """
CREATE TABLE device (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device_id      text NOT NULL CONSTRAINT device_id_unique UNIQUE
                   CONSTRAINT device_id_form CHECK (device_id ~ '^[A-Za-z0-9_-]{1,128}$'),
    project_id     text NOT NULL,
    product_id     text NOT NULL CONSTRAINT device_product_length CHECK (length(product_id) BETWEEN 1 AND 36),
    product_name   text,
    app_id         text,
    app_name       text,
    node_id        text NOT NULL CONSTRAINT device_node_length CHECK (length(node_id) BETWEEN 1 AND 64),
    node_type      text NOT NULL DEFAULT 'ENDPOINT' CONSTRAINT device_node_type
                   CHECK (node_type IN ('ENDPOINT', 'GATEWAY', 'UNKNOWN')),
    gateway_id     text               -- device_id of its gateway, null: directly connected
                   CONSTRAINT device_gateway REFERENCES device (device_id),
    name           text,
    description    text,
    auth_type      text NOT NULL DEFAULT 'SECRET' CONSTRAINT device_auth_type
                   CHECK (auth_type IN ('SECRET', 'CERTIFICATES')),
    secret         text,              -- encrypted with CARILLON_SECRET_KEY
    fingerprint    text,
    secure_access  boolean NOT NULL DEFAULT true,
    status         text NOT NULL DEFAULT 'INACTIVE' CONSTRAINT device_status
                   CHECK (status IN ('ONLINE', 'OFFLINE', 'ABNORMAL', 'INACTIVE', 'FROZEN')),
    status_before_freeze text,
    status_at      timestamptz,
    active_at      timestamptz,
    fw_version     text,
    sw_version     text,
    tags           jsonb NOT NULL DEFAULT '{}',
    extension_info jsonb,
    timezone       text,              -- of its timers, null: the default
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL,
    CONSTRAINT device_node_unique UNIQUE (project_id, node_id, product_id),
    CONSTRAINT device_frozen CHECK ((status = 'FROZEN') = (status_before_freeze IS NOT NULL))
);
CREATE INDEX device_of_project ON device (project_id, id);
CREATE INDEX device_of_product ON device (project_id, product_id, id);
CREATE INDEX device_by_status ON device (project_id, status, id);
CREATE INDEX device_by_product_status ON device (project_id, product_id, status, id);
CREATE INDEX device_of_gateway ON device (gateway_id, id) WHERE gateway_id IS NOT NULL;
CREATE INDEX device_by_name ON device (project_id, name COLLATE "C", id);

-- Each tag of each device, so that a list by tag is a walk along an index; follows `device.tags` by itself.
CREATE TABLE device_tag (
    device_id  bigint NOT NULL REFERENCES device ON DELETE CASCADE,
    project_id text NOT NULL,
    key        text NOT NULL,
    value      text NOT NULL,
    PRIMARY KEY (device_id, key)
);
CREATE INDEX device_by_tag ON device_tag (project_id, key, value, device_id);
CREATE FUNCTION follow_device_tags() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        DELETE FROM device_tag t WHERE t.device_id = NEW.id;
    END IF;
    INSERT INTO device_tag (device_id, project_id, key, value)
    SELECT NEW.id, NEW.project_id, e.key, e.value FROM jsonb_each_text(NEW.tags) e;
    RETURN NULL;
END $$;
CREATE TRIGGER device_tags_inserted AFTER INSERT ON device
    FOR EACH ROW WHEN (NEW.tags <> '{}') EXECUTE FUNCTION follow_device_tags();
CREATE TRIGGER device_tags_changed AFTER UPDATE OF tags, project_id ON device
    FOR EACH ROW WHEN ((OLD.tags, OLD.project_id) IS DISTINCT FROM (NEW.tags, NEW.project_id))
    EXECUTE FUNCTION follow_device_tags();

CREATE TABLE device_group (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    group_id    text NOT NULL CONSTRAINT device_group_id_unique UNIQUE,
    project_id  text NOT NULL,
    name        text NOT NULL CONSTRAINT device_group_name_length CHECK (length(name) BETWEEN 1 AND 64),
    description text,
    created_at  timestamptz NOT NULL,
    CONSTRAINT device_group_name_unique UNIQUE (project_id, name)
);
CREATE INDEX device_group_of_project ON device_group (project_id, id);
CREATE TABLE device_group_member (
    group_id  bigint NOT NULL REFERENCES device_group ON DELETE CASCADE,
    device_id bigint NOT NULL REFERENCES device ON DELETE CASCADE,
    PRIMARY KEY (group_id, device_id)
);
CREATE INDEX device_group_of_device ON device_group_member (device_id);

-- Which users may set timers on which devices (document 001, code 10350).
CREATE TABLE device_binding (
    user_name  text NOT NULL,
    device_id  bigint NOT NULL REFERENCES device ON DELETE CASCADE,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (user_name, device_id)
);
CREATE INDEX device_binding_of_device ON device_binding (device_id, user_name);

CREATE TABLE device_shadow (
    device_id   bigint NOT NULL REFERENCES device ON DELETE CASCADE,
    service_id  text NOT NULL,
    desired     jsonb NOT NULL DEFAULT '{}',
    desired_at  timestamptz,
    reported    jsonb NOT NULL DEFAULT '{}',
    reported_at timestamptz,
    version     bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (device_id, service_id)
);

CREATE TABLE device_command (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    command_id    text NOT NULL CONSTRAINT device_command_id_unique UNIQUE,
    device_id     bigint NOT NULL REFERENCES device ON DELETE CASCADE,
    service_id    text,
    command_name  text,
    paras         jsonb NOT NULL,
    send_strategy text NOT NULL
                  CONSTRAINT device_command_strategy CHECK (send_strategy IN ('immediately', 'delay')),
    status        text NOT NULL CONSTRAINT device_command_status CHECK
                  (status IN ('PENDING', 'EXPIRED', 'SENT', 'DELIVERED', 'SUCCESSFUL', 'FAILED', 'TIMEOUT')),
    result        jsonb,
    expires_at    timestamptz NOT NULL,
    created_at    timestamptz NOT NULL,
    sent_at       timestamptz,
    delivered_at  timestamptz,
    responded_at  timestamptz
);
CREATE INDEX device_command_of_device ON device_command (device_id, id);
CREATE INDEX device_command_waiting ON device_command (device_id) WHERE status = 'PENDING';
CREATE INDEX device_command_pending ON device_command (expires_at)
    WHERE status IN ('PENDING', 'SENT', 'DELIVERED');

-- What a command is at a moment: whoever ends those whose time is over comes a little later.
CREATE FUNCTION command_status_at(moment timestamptz, status text, expires_at timestamptz) RETURNS text
LANGUAGE sql IMMUTABLE RETURN
    CASE WHEN expires_at > moment THEN status
         WHEN status = 'PENDING' THEN 'EXPIRED'
         WHEN status IN ('SENT', 'DELIVERED') THEN 'TIMEOUT'
         ELSE status END;

CREATE TABLE device_message (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    message_id  text NOT NULL,
    device_id   bigint NOT NULL REFERENCES device ON DELETE CASCADE,
    name        text,
    message     jsonb NOT NULL,
    encoding    text NOT NULL DEFAULT 'none'
                CONSTRAINT device_message_encoding CHECK (encoding IN ('none', 'base64')),
    payload_format text NOT NULL DEFAULT 'standard' CONSTRAINT device_message_format
                CHECK (payload_format IN ('standard', 'raw')),
    topic       text,
    properties  jsonb,
    status      text NOT NULL CONSTRAINT device_message_status
                CHECK (status IN ('PENDING', 'DELIVERED', 'FAILED', 'TIMEOUT')),
    error       text,
    expires_at  timestamptz NOT NULL,
    created_at  timestamptz NOT NULL,
    finished_at timestamptz,
    CONSTRAINT device_message_once UNIQUE (device_id, message_id)
);
CREATE INDEX device_message_of_device ON device_message (device_id, id);
CREATE INDEX device_message_pending ON device_message (expires_at) WHERE status = 'PENDING';
CREATE INDEX device_message_waiting ON device_message (device_id) WHERE status = 'PENDING';
"""

TIMERS = """
ALTER TABLE device ADD COLUMN timers_paused boolean NOT NULL DEFAULT false;

-- A group of timers of one device that share the days of the week (document 001, "task").
CREATE TABLE timer_group (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    group_id     text NOT NULL CONSTRAINT timer_group_id_unique UNIQUE
                 CONSTRAINT timer_group_id_form CHECK (group_id ~ '^[0-9a-f]{32}$'),
    device_id    bigint REFERENCES device ON DELETE SET NULL,     -- null: the device was deleted
    period       text NOT NULL CONSTRAINT timer_group_period CHECK (period ~ '^[01]{7}$'),
    first_day    text NOT NULL CONSTRAINT timer_group_first_day CHECK (first_day IN ('sunday', 'monday')),
    timezone     text NOT NULL,
    enabled      boolean NOT NULL,
    offline      text NOT NULL CONSTRAINT timer_group_offline
                 CHECK (offline IN ('skip', 'deliver_when_online', 'shadow_desired')),
    offline_ttl  interval NOT NULL,
    created_by   text,
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    deleted_at   timestamptz
);
-- The deleted ones, too: a device that is deleted lets go of all of them.
CREATE INDEX timer_group_of_device ON timer_group (device_id, deleted_at) WHERE device_id IS NOT NULL;

CREATE TABLE device_timer (
    definition_id bigint PRIMARY KEY REFERENCES definition ON DELETE CASCADE,
    group_id      bigint NOT NULL REFERENCES timer_group,
    name          text NOT NULL CONSTRAINT device_timer_name_unique UNIQUE,     -- 32 hexadecimal digits
    ordinal       smallint NOT NULL,
    hour          text NOT NULL,          -- as they were sent
    minute        text NOT NULL,
    commands      text NOT NULL           -- the JSON text as it was sent
);
CREATE INDEX device_timer_of_group ON device_timer (group_id, ordinal);

-- A command that is built already is built anew where the revision is another: a frozen device gets none.
CREATE FUNCTION revise_device_timers() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE definition d
    SET revision = d.revision + 1
    FROM timer_group g, device_timer t
    WHERE g.device_id = NEW.id AND g.deleted_at IS NULL AND t.group_id = g.id
      AND d.id = t.definition_id AND d.deleted_at IS NULL AND d.enabled;
    RETURN NULL;
END $$;
CREATE TRIGGER device_frozen_or_freed AFTER UPDATE OF status ON device
    FOR EACH ROW WHEN ((OLD.status = 'FROZEN') <> (NEW.status = 'FROZEN'))
    EXECUTE FUNCTION revise_device_timers();
"""


def upgrade() -> None:
    # The driver's own connection, as in 0001.
    connection: Any = op.get_bind().connection.driver_connection
    for script in (DEFINITIONS, REGISTRY, TIMERS):
        connection.execute(script)


def downgrade() -> None:
    raise NotImplementedError("history is linear: restore a backup instead")
