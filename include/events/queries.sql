-- name: lock_project
-- Whoever makes a subscription of a project waits for others who do.
SELECT pg_advisory_xact_lock(hashtextextended('event_subscription ' || %(project_id)s, 0))

-- name: count_subscriptions
-- How many a project has.
SELECT count(*) AS count FROM event_subscription WHERE project_id = %(project_id)s AND deleted_at IS NULL

-- name: insert_subscription
-- A new subscription; it hears of what happens from now on.
INSERT INTO event_subscription (project_id, url, secret, resources, created_at)
VALUES (%(project_id)s, %(url)s, %(secret)s, %(resources)s, %(now)s)
RETURNING id, project_id, url, resources, created_at

-- name: list_subscriptions
-- A page of subscriptions, the oldest first.
SELECT id, project_id, url, resources, created_at
FROM event_subscription
WHERE deleted_at IS NULL AND id > %(after)s
  AND (%(projects)s::text[] IS NULL OR project_id = ANY(%(projects)s))
  AND (%(project)s::text IS NULL OR project_id = %(project)s)
ORDER BY id
LIMIT %(limit)s

-- name: find_subscription
-- One subscription.
SELECT id, project_id, url, resources, created_at
FROM event_subscription
WHERE id = %(id)s AND deleted_at IS NULL
  AND (%(projects)s::text[] IS NULL OR project_id = ANY(%(projects)s))

-- name: change_subscription
-- Another address, other resources; null leaves them. What waits goes to the new address.
UPDATE event_subscription
SET url = coalesce(%(url)s, url), resources = coalesce(%(resources)s, resources)
WHERE id = %(id)s
RETURNING id, project_id, url, resources, created_at

-- name: delete_subscription
-- Nothing more is told; what was waiting is given up.
WITH gone AS (
    UPDATE event_subscription SET deleted_at = %(now)s WHERE id = %(id)s RETURNING id
)
UPDATE event e SET next_at = NULL, last_error = 'the subscription was deleted'
FROM gone
WHERE e.subscription_id = gone.id AND e.next_at IS NOT NULL

-- name: list_events
-- A page of what a subscription was told or is to be told, the newest first.
SELECT id, subscription_id, webhook_id, resource, action, subject, body, created_at, attempts, next_at,
       delivered_at, last_error
FROM event
WHERE subscription_id = %(subscription)s AND id < %(before)s
  AND CASE %(state)s WHEN 'waiting' THEN next_at IS NOT NULL
                     WHEN 'delivered' THEN delivered_at IS NOT NULL
                     WHEN 'given_up' THEN next_at IS NULL AND delivered_at IS NULL
                     ELSE true END
ORDER BY id DESC
LIMIT %(limit)s

-- name: redeliver_event
-- Tell it again, now, with all its retries, under the same webhook-id.
UPDATE event SET next_at = clock_timestamp(), attempts = 0, delivered_at = NULL
WHERE id = %(id)s AND subscription_id = %(subscription)s
RETURNING id, subscription_id, webhook_id, resource, action, subject, body, created_at, attempts, next_at,
          delivered_at, last_error

-- name: notify_couriers
-- Something is to be told.
NOTIFY carillon_event

-- name: listen
-- Hear of it on this connection.
LISTEN carillon_event

-- name: claim_events
-- What is due, of each subscription only so many at a time; `busy` says how many this courier has in hand. An
-- event waits while an earlier one about the same subject does. The lease lets others take what a courier that
-- died had in hand.
WITH due AS (
    SELECT e.id
    FROM event_subscription s
    CROSS JOIN LATERAL (
        SELECT id FROM event e
        WHERE e.subscription_id = s.id AND e.next_at <= clock_timestamp()
          AND NOT EXISTS (SELECT FROM event p
                          WHERE p.subscription_id = e.subscription_id AND p.subject = e.subject AND p.id < e.id
                            AND p.next_at IS NOT NULL)
        ORDER BY e.next_at, e.id
        LIMIT greatest(0, %(most)s - coalesce((%(busy)s::jsonb ->> s.id::text)::integer, 0))
        FOR UPDATE SKIP LOCKED
    ) e
    WHERE s.deleted_at IS NULL
    LIMIT %(limit)s
)
UPDATE event e
SET attempts = e.attempts + 1, next_at = clock_timestamp() + %(lease)s
FROM due, event_subscription s
WHERE e.id = due.id AND s.id = e.subscription_id
RETURNING e.id, e.subscription_id, e.webhook_id, e.resource, e.action, e.subject, e.body, e.created_at,
          e.attempts, e.next_at, e.delivered_at, e.last_error, s.url, s.secret

-- name: record_deliveries
-- They were told, also where somebody else has taken them in hand meanwhile.
UPDATE event SET delivered_at = clock_timestamp(), next_at = NULL, last_error = NULL
WHERE id = ANY(%(ids)s) AND next_at IS NOT NULL

-- name: record_failures
-- Attempts failed; without a delay there is no other. What waits for these events need not be looked at before.
WITH failed AS (
    UPDATE event e
    SET next_at = clock_timestamp() + r.delay, last_error = r.error
    FROM unnest(%(ids)s::bigint[], %(attempts)s::integer[], %(errors)s::text[], %(delays)s::interval[])
         AS r (id, attempt, error, delay)
    WHERE e.id = r.id AND e.attempts = r.attempt AND e.next_at IS NOT NULL
    RETURNING e.id, e.subscription_id, e.subject, e.next_at
), later AS (
    UPDATE event e SET next_at = f.next_at
    FROM failed f
    WHERE e.subscription_id = f.subscription_id AND e.subject = f.subject AND e.id > f.id
      AND e.next_at < f.next_at
)
SELECT id FROM failed

-- name: count_settled
-- Events of before a moment that were delivered or given up.
SELECT count(*) AS count FROM event WHERE next_at IS NULL AND created_at < %(before)s

-- name: delete_settled
-- Some of these.
DELETE FROM event
WHERE id IN (SELECT id FROM event WHERE next_at IS NULL AND created_at < %(before)s ORDER BY id LIMIT %(limit)s)

-- name: delete_subscriptions
-- Deleted ones of which no event is left.
DELETE FROM event_subscription s
WHERE s.deleted_at < %(before)s AND NOT EXISTS (SELECT FROM event e WHERE e.subscription_id = s.id)
