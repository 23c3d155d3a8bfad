-- name: page_bills
-- A page of a project's final bills, the newest first, with the count of all: one row where the page is empty.
-- Each commodity is read along `bill_history`, no further than the page; the tally knows how many there are.
WITH total AS MATERIALIZED (
    SELECT coalesce(sum(bills), 0)::bigint AS count FROM bill_tally
    WHERE project_id = %(project_id)s AND commodity = ANY(%(commodities)s)
), wanted AS (
    SELECT b.*
    FROM unnest(%(commodities)s::text[]) AS c (commodity)
    CROSS JOIN LATERAL (
        SELECT * FROM bill
        WHERE bill.project_id = %(project_id)s AND bill.commodity = c.commodity AND bill.state = 'final'
          AND %(offset)s < (SELECT count FROM total)
        ORDER BY bill.period_to DESC, bill.id DESC
        LIMIT %(limit)s::bigint + %(offset)s
    ) b
    ORDER BY b.period_to DESC, b.id DESC
    LIMIT %(limit)s OFFSET %(offset)s
)
SELECT total.count, w.id, w.device_id, w.commodity, w.address, w.state, w.period_from, w.period_to,
       w.previous_quantity, w.quantity, w.unit, w.opening, w.closing, w.charge, w.flags, w.created_at,
       coalesce(p.timezone, %(timezone)s) AS timezone, coalesce(p.reading_mode, 'quantity') AS reading_mode
FROM total
LEFT JOIN wanted w ON true
LEFT JOIN billing_project p ON p.project_id = %(project_id)s
ORDER BY w.period_to DESC, w.id DESC

-- name: page_device_bills
-- The same of one meter: through the service points where it was installed, along `bill_chain`.
WITH found AS MATERIALIZED (
    SELECT b.*
    FROM bill b
    WHERE b.service_point_id IN (
            SELECT i.service_point_id
            FROM meter m JOIN meter_installation i ON i.meter_id = m.id
            WHERE m.project_id = %(project_id)s AND m.device_id = %(device_id)s
          )
      AND b.device_id = %(device_id)s AND b.project_id = %(project_id)s
      AND b.commodity = ANY(%(commodities)s) AND b.state = 'final'
)
SELECT total.count, w.id, w.device_id, w.commodity, w.address, w.state, w.period_from, w.period_to,
       w.previous_quantity, w.quantity, w.unit, w.opening, w.closing, w.charge, w.flags, w.created_at,
       coalesce(p.timezone, %(timezone)s) AS timezone, coalesce(p.reading_mode, 'quantity') AS reading_mode
FROM (SELECT count(*) AS count FROM found) total
LEFT JOIN LATERAL (
    SELECT * FROM found ORDER BY period_to DESC, id DESC LIMIT %(limit)s OFFSET %(offset)s
) w ON true
LEFT JOIN billing_project p ON p.project_id = %(project_id)s
ORDER BY w.period_to DESC, w.id DESC

-- name: span_bills
-- The next `limit` final bills whose period ends on these local dates, the newest first, each with who shares it.
-- (`before_at`, `before_id`) is the last bill seen; one bound from above only, or the index is read from its start.
WITH span AS MATERIALIZED (
    SELECT zone.name AS timezone, zone.reading_mode,
           %(start)s::date::timestamp AT TIME ZONE zone.name AS since,
           least((%(end)s::date + 1)::timestamp AT TIME ZONE zone.name, %(before_at)s::timestamptz) AS before_at
    FROM (
        SELECT coalesce(max(timezone), %(timezone)s) AS name,
               coalesce(max(reading_mode), 'quantity') AS reading_mode
        FROM billing_project WHERE project_id = %(project_id)s
    ) zone
)
SELECT w.id, w.device_id, w.commodity, w.address, w.state, w.period_from, w.period_to, w.previous_quantity,
       w.quantity, w.unit, w.opening, w.closing, w.charge, w.flags, w.created_at,
       (SELECT timezone FROM span) AS timezone, (SELECT reading_mode FROM span) AS reading_mode,
       (SELECT coalesce(jsonb_agg(jsonb_build_object('name', s.name, 'cellphone', s.cellphone,
                                                     'weight', trim_scale(s.weight)::text, 'amount', s.amount::text)
                                  ORDER BY s.party_id), '[]')
        FROM bill_share s WHERE s.bill_id = w.id) AS residents
FROM unnest(%(commodities)s::text[]) AS c (commodity)
CROSS JOIN LATERAL (
    SELECT * FROM bill
    WHERE bill.project_id = %(project_id)s AND bill.commodity = c.commodity
      AND bill.period_to >= (SELECT since FROM span)
      AND (bill.period_to, bill.id) < ((SELECT before_at FROM span), %(before_id)s) AND bill.state = 'final'
      AND (%(subtype)s::text IS NULL OR bill.commodity <> 'water' OR bill.subtype = %(subtype)s)
    ORDER BY bill.period_to DESC, bill.id DESC
    LIMIT %(limit)s
) w
ORDER BY w.period_to DESC, w.id DESC
LIMIT %(limit)s

-- name: span_device_bills
-- The same of one meter, along `bill_chain`.
WITH span AS MATERIALIZED (
    SELECT zone.name AS timezone, zone.reading_mode,
           %(start)s::date::timestamp AT TIME ZONE zone.name AS since,
           least((%(end)s::date + 1)::timestamp AT TIME ZONE zone.name, %(before_at)s::timestamptz) AS before_at
    FROM (
        SELECT coalesce(max(timezone), %(timezone)s) AS name,
               coalesce(max(reading_mode), 'quantity') AS reading_mode
        FROM billing_project WHERE project_id = %(project_id)s
    ) zone
)
SELECT w.id, w.device_id, w.commodity, w.address, w.state, w.period_from, w.period_to, w.previous_quantity,
       w.quantity, w.unit, w.opening, w.closing, w.charge, w.flags, w.created_at,
       (SELECT timezone FROM span) AS timezone, (SELECT reading_mode FROM span) AS reading_mode,
       (SELECT coalesce(jsonb_agg(jsonb_build_object('name', s.name, 'cellphone', s.cellphone,
                                                     'weight', trim_scale(s.weight)::text, 'amount', s.amount::text)
                                  ORDER BY s.party_id), '[]')
        FROM bill_share s WHERE s.bill_id = w.id) AS residents
FROM bill w
WHERE w.service_point_id IN (
        SELECT i.service_point_id
        FROM meter m JOIN meter_installation i ON i.meter_id = m.id
        WHERE m.project_id = %(project_id)s AND m.device_id = %(device_id)s
      )
  AND w.period_to >= (SELECT since FROM span)
  AND (w.period_to, w.id) < ((SELECT before_at FROM span), %(before_id)s)
  AND w.device_id = %(device_id)s AND w.project_id = %(project_id)s AND w.state = 'final'
  AND w.commodity = ANY(%(commodities)s)
  AND (%(subtype)s::text IS NULL OR w.commodity <> 'water' OR w.subtype = %(subtype)s)
ORDER BY w.period_to DESC, w.id DESC
LIMIT %(limit)s

-- name: page_record_ids
-- The ids of a project's bills that meet conditions, the newest first: each commodity along `bill_history`, no
-- further than the page. A cursor reads them without a limit.
SELECT w.id
FROM unnest(%(commodities)s::text[]) AS c (commodity)
CROSS JOIN LATERAL (
    SELECT bill.id, bill.period_to FROM bill
    WHERE bill.project_id = %(project_id)s AND bill.commodity = c.commodity
      AND bill.period_to >= %(ends_from)s::timestamptz
      AND (bill.period_to, bill.id) < (%(before_at)s::timestamptz, %(before_id)s::bigint)
      AND (%(state)s::text IS NULL OR bill.state = %(state)s::text) AND bill.flags @> %(flags)s::text[]
      AND (%(run_id)s::bigint IS NULL OR bill.run_id = %(run_id)s::bigint)
    ORDER BY bill.period_to DESC, bill.id DESC
    LIMIT %(limit)s::bigint
) w
ORDER BY w.period_to DESC, w.id DESC
LIMIT %(limit)s::bigint

-- name: page_point_record_ids
-- The same of one service point, or of those where one meter was installed, along `bill_chain`.
SELECT b.id FROM bill b
WHERE b.service_point_id IN (
        SELECT s.id FROM service_point s
        WHERE s.project_id = %(project_id)s AND s.key = %(service_point)s::text
        UNION ALL
        SELECT i.service_point_id FROM meter m JOIN meter_installation i ON i.meter_id = m.id
        WHERE %(service_point)s::text IS NULL AND m.project_id = %(project_id)s
          AND m.device_id = %(device_id)s::text
      )
  AND (%(device_id)s::text IS NULL OR b.device_id = %(device_id)s::text)
  AND b.project_id = %(project_id)s AND b.commodity = ANY(%(commodities)s::text[])
  AND b.period_to >= %(ends_from)s::timestamptz
  AND (b.period_to, b.id) < (%(before_at)s::timestamptz, %(before_id)s::bigint)
  AND (%(state)s::text IS NULL OR b.state = %(state)s::text) AND b.flags @> %(flags)s::text[]
  AND (%(run_id)s::bigint IS NULL OR b.run_id = %(run_id)s::bigint)
ORDER BY b.period_to DESC, b.id DESC LIMIT %(limit)s::bigint

-- name: find_records
-- Bills by id for a caller of these projects, the newest first, with what their lines come to by kind.
SELECT b.id, b.project_id, b.service_point_id, s.key AS service_point, b.run_id, b.device_id, b.commodity, b.subtype,
       b.address, b.state, b.period_from, b.period_to, b.months, b.coverage, b.previous_quantity, b.quantity, b.unit,
       b.opening, b.closing, b.charge, l.energy, l.fixed, l.minimum, l.tax, l.corrections, b.rounding_delta,
       b.year_quantity, b.estimates_in_a_row, b.flags, b.cutoff, b.input_hash, b.engine_version, b.original_bill_id,
       CASE b.state WHEN 'void' THEN (
           SELECT max(n.id) FROM bill n
           WHERE n.service_point_id = b.service_point_id AND n.original_bill_id = b.id) END AS replaced_by_id,
       b.created_at, coalesce(p.timezone, %(timezone)s) AS timezone
FROM bill b
JOIN service_point s ON s.id = b.service_point_id
LEFT JOIN billing_project p ON p.project_id = b.project_id
CROSS JOIN LATERAL (
    SELECT coalesce(sum(amount) FILTER (WHERE kind IN ('ENERGY', 'TIER')), 0.00) AS energy,
           coalesce(sum(amount) FILTER (WHERE kind = 'FIXED'), 0.00) AS fixed,
           coalesce(sum(amount) FILTER (WHERE kind = 'MINIMUM'), 0.00) AS minimum,
           coalesce(sum(amount) FILTER (WHERE kind = 'TAX' AND NOT included), 0.00) AS tax,
           coalesce(sum(amount) FILTER (WHERE kind IN ('TRUE_UP', 'ADJUSTMENT')), 0.00) AS corrections
    FROM bill_line WHERE bill_id = b.id
) l
WHERE b.id = ANY(%(ids)s::bigint[])
  AND (%(projects)s::text[] IS NULL OR b.project_id = ANY(%(projects)s::text[]))
ORDER BY b.period_to DESC, b.id DESC

-- name: list_quantities
-- What was measured for these bills.
SELECT bill_id, register_id, kind, from_at, to_at, opening, closing, quantity, opening_method, closing_method,
       opening_reading_id, closing_reading_id
FROM bill_quantity WHERE bill_id = ANY(%(bill_ids)s::bigint[]) ORDER BY bill_id, ordinal

-- name: list_lines
-- The lines of these bills.
SELECT bill_id, kind, label, tier, quantity, rate, amount, included, from_at, to_at, method, tariff_version_id,
       corrects_bill_id, adjustment_id
FROM bill_line WHERE bill_id = ANY(%(bill_ids)s::bigint[]) ORDER BY bill_id, ordinal

-- name: list_shares
-- To whom these bills fall.
SELECT s.bill_id, s.party_id, p.key AS party, s.name, s.cellphone, s.weight, s.amount
FROM bill_share s LEFT JOIN party p ON p.id = s.party_id
WHERE s.bill_id = ANY(%(bill_ids)s::bigint[]) ORDER BY s.bill_id, s.party_id

-- name: list_corrections_of
-- The adjustments that correct these bills, the oldest first.
SELECT a.id, a.project_id, s.key AS service_point, a.corrects_bill_id, a.kind, a.quantity, a.amount, a.open_amount,
       a.reason, a.detail, a.manual, a.detail ? 'cancelled' AS cancelled, a.actor, a.cutoff, a.first_bill_id,
       a.created_at
FROM adjustment a JOIN service_point s ON s.id = a.service_point_id
WHERE a.corrects_bill_id = ANY(%(bill_ids)s::bigint[]) ORDER BY a.id

-- name: list_adjustments
-- Adjustments of a project, the newest first.
SELECT a.id, a.project_id, s.key AS service_point, a.corrects_bill_id, a.kind, a.quantity, a.amount, a.open_amount,
       a.reason, a.detail, a.manual, a.detail ? 'cancelled' AS cancelled, a.actor, a.cutoff, a.first_bill_id,
       a.created_at
FROM adjustment a JOIN service_point s ON s.id = a.service_point_id
WHERE a.project_id = %(project_id)s AND a.id < %(before_id)s
  AND (%(service_point)s::text IS NULL OR s.key = %(service_point)s::text)
  AND (%(kind)s::text IS NULL OR a.kind = %(kind)s::text)
  AND (%(open)s::boolean IS NULL OR (a.open_amount <> 0) = %(open)s::boolean)
ORDER BY a.id DESC LIMIT %(limit)s

-- name: list_audit
-- What was done with a bill, the first thing first.
SELECT action, actor, detail, at FROM billing_audit
WHERE entity = 'bill' AND entity_id = %(bill_id)s ORDER BY id

-- name: list_runs
-- Billing runs of a project, or one run for a caller of these projects, the newest first.
SELECT r.id, r.definition_id, t.natrual_key, d.name AS task, r.project_id, r.commodity, r.due_at, r.period_to, r.cutoff,
       r.origin, r.state, r.airflow_run, r.billed, r.adjusted, r.parked, r.total, r.reason, r.started_at, r.finished_at
FROM billing_run r
JOIN definition d ON d.id = r.definition_id
JOIN billing_task t ON t.definition_id = r.definition_id
WHERE (%(id)s::bigint IS NULL OR r.id = %(id)s::bigint)
  AND (%(projects)s::text[] IS NULL OR r.project_id = ANY(%(projects)s::text[]))
  AND r.id < %(before_id)s
  AND (%(commodity)s::text IS NULL OR r.commodity = %(commodity)s::text)
  AND (%(state)s::text IS NULL OR r.state = %(state)s::text)
ORDER BY r.id DESC LIMIT %(limit)s

-- name: currencies_of
-- The tariffs of versions.
SELECT v.id, v.tariff_id, t.currency FROM tariff_version v JOIN tariff t ON t.id = v.tariff_id
WHERE v.id = ANY(%(version_ids)s::bigint[])

-- name: moment
-- Now, by the clock that stamps readings.
SELECT clock_timestamp() AS now

-- name: last_bill
-- The latest bill of a service point that is not void.
SELECT id FROM bill WHERE service_point_id = %(service_point_id)s AND state <> 'void'
ORDER BY period_to DESC LIMIT 1

-- name: make_void
-- A bill becomes void. What it was until then is told by the statement that ends it, whoever changed it meanwhile.
UPDATE bill b SET state = 'void'
FROM (SELECT id, state FROM bill WHERE id = %(id)s FOR UPDATE) old
WHERE b.id = old.id
RETURNING old.state

-- name: make_final
-- A draft becomes final, if it is one still.
UPDATE bill SET state = 'final' WHERE id = %(id)s AND state = 'draft' RETURNING id

-- name: tally_bills
-- Final bills that came or went, apart from the slots of runs, which would wait for this.
INSERT INTO bill_tally (project_id, commodity, slot, bills)
VALUES (%(project_id)s, %(commodity)s, -1, %(bills)s)
ON CONFLICT (project_id, commodity, slot) DO UPDATE SET bills = bill_tally.bills + excluded.bills

-- name: reopen_carried
-- Adjustments that a bill carries wait for another one: as much as is on it.
UPDATE adjustment a
SET open_amount = a.open_amount + l.amount, first_bill_id = nullif(a.first_bill_id, %(bill_id)s::bigint)
FROM (SELECT adjustment_id AS id, sum(amount) AS amount FROM bill_line
      WHERE bill_id = %(bill_id)s::bigint AND adjustment_id IS NOT NULL GROUP BY adjustment_id) l
WHERE a.id = l.id
RETURNING a.id

-- name: cancel_found
-- Differences that were found in a bill that is void now: what is not on a bill yet goes on none.
UPDATE adjustment a
SET open_amount = 0, detail = a.detail || jsonb_build_object('cancelled', %(now)s::timestamptz)
FROM adjustment old
WHERE a.corrects_bill_id = %(bill_id)s AND NOT a.manual AND old.id = a.id
RETURNING a.id, old.amount - old.open_amount AS carried

-- name: hold_back
-- What waits for the next bill of a service point does not go on one that is made again in the middle.
UPDATE adjustment a
SET open_amount = 0
FROM adjustment old
WHERE a.service_point_id = %(service_point_id)s AND a.open_amount <> 0 AND a.id <> ALL (%(but)s::bigint[])
  AND old.id = a.id
RETURNING a.id, old.open_amount

-- name: let_go
-- And waits again.
UPDATE adjustment a
SET open_amount = h.open_amount
FROM unnest(%(ids)s::bigint[], %(open_amounts)s::numeric[]) AS h (id, open_amount)
WHERE a.id = h.id

-- name: move_manual
-- What a person decided on about a void bill is about the one that stands for it.
UPDATE adjustment SET corrects_bill_id = %(made_id)s WHERE corrects_bill_id = %(bill_id)s AND manual RETURNING id

-- name: insert_manual
-- A correction that a person decided on, for the next bill.
INSERT INTO adjustment (project_id, service_point_id, corrects_bill_id, kind, quantity, amount, open_amount, reason,
                        detail, manual, actor, cutoff, created_at)
VALUES (%(project_id)s, %(service_point_id)s, %(bill_id)s, CASE WHEN %(amount)s::numeric < 0 THEN 'CREDIT' ELSE 'DEBIT' END,
        %(quantity)s, %(amount)s::numeric, %(amount)s::numeric, %(reason)s, %(detail)s::jsonb, true, %(actor)s, %(now)s,
        %(now)s)
RETURNING id

-- name: replacement_of
-- The bill that stands for a void one.
SELECT max(id) AS id FROM bill
WHERE service_point_id = %(service_point_id)s AND original_bill_id = %(original_bill_id)s
HAVING max(id) IS NOT NULL

-- name: why_parked
-- Why a service point has no bill.
SELECT kind || ': ' || detail AS why FROM billing_exception
WHERE service_point_id = %(service_point_id)s AND parked AND state = 'open' ORDER BY created_at DESC, id DESC LIMIT 1

-- name: audit_bills
-- What somebody did with bills.
INSERT INTO billing_audit (project_id, entity, entity_id, action, actor, detail, at)
SELECT %(project_id)s, 'bill', b.id, %(action)s, %(actor)s, b.detail, %(now)s
FROM unnest(%(bill_ids)s::bigint[], %(details)s::jsonb[]) AS b (id, detail)

-- name: find_points
-- Service points by key.
SELECT id, key, commodity FROM service_point WHERE project_id = %(project_id)s AND key = ANY(%(keys)s::text[])

-- name: billed_points
-- Service points with bills that end within a span, by id.
SELECT s.id, s.commodity FROM service_point s
WHERE s.project_id = %(project_id)s AND s.commodity = ANY(%(commodities)s::text[]) AND s.id > %(after)s
  AND (%(only_ids)s::bigint[] IS NULL OR s.id = ANY(%(only_ids)s::bigint[]))
  AND EXISTS (SELECT FROM bill b WHERE b.service_point_id = s.id AND b.state <> 'void'
                                   AND b.period_to > %(ends_after)s AND b.period_to <= %(ends_by)s)
ORDER BY s.id LIMIT %(limit)s

-- name: list_crontabs
-- The crontabs of billing tasks, those that are switched on first.
SELECT t.natrual_key, s.expression, s.timezone, d.enabled
FROM billing_task t
JOIN definition d ON d.id = t.definition_id
JOIN schedule s ON s.id = d.schedule_id
WHERE d.project_id = %(project_id)s AND t.commodity = %(commodity)s AND d.deleted_at IS NULL
ORDER BY d.enabled DESC, d.id

-- name: plan_for_rows
-- Undoes `plan_for_chunks` of billing, in the same transaction.
SELECT set_config('enable_nestloop', 'on', true)

-- name: previewed_bills
-- Bills that a preview made in this transaction.
SELECT id FROM bill
WHERE project_id = %(project_id)s AND service_point_id BETWEEN %(low)s AND %(high)s AND period_to = %(period_to)s
  AND cutoff = %(cutoff)s AND run_id IS NULL AND state <> 'void'
ORDER BY service_point_id LIMIT %(limit)s

-- name: previewed_parked
-- Service points that a preview could not bill, by the newest entry of the exceptions queue.
SELECT kind, count(*) AS points
FROM (SELECT DISTINCT ON (e.service_point_id) e.service_point_id, e.kind
      FROM billing_exception e JOIN service_point s ON s.id = e.service_point_id
      WHERE e.project_id = %(project_id)s AND e.state = 'open' AND e.parked AND s.commodity = %(commodity)s
        AND e.service_point_id BETWEEN %(low)s AND %(high)s
        AND (%(only_ids)s::bigint[] IS NULL OR e.service_point_id = ANY(%(only_ids)s::bigint[]))
        AND NOT EXISTS (SELECT FROM bill b WHERE b.service_point_id = e.service_point_id AND b.state <> 'void'
                                             AND b.period_to >= %(period_to)s)
      ORDER BY e.service_point_id, e.created_at DESC, e.id DESC) e
GROUP BY kind ORDER BY kind
