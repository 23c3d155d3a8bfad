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
), wanted AS NOT MATERIALIZED (
    SELECT * FROM bill
    WHERE 'electricity' = ANY(%(commodities)s) AND project_id = %(project_id)s AND commodity = 'electricity'
      AND period_to >= (SELECT since FROM span)
      AND (period_to, id) < ((SELECT before_at FROM span), %(before_id)s) AND state = 'final'
    UNION ALL
    SELECT * FROM bill
    WHERE 'water' = ANY(%(commodities)s) AND project_id = %(project_id)s AND commodity = 'water'
      AND period_to >= (SELECT since FROM span)
      AND (period_to, id) < ((SELECT before_at FROM span), %(before_id)s) AND state = 'final'
      AND (%(subtype)s::text IS NULL OR subtype = %(subtype)s)
)
SELECT w.id, w.device_id, w.commodity, w.address, w.state, w.period_from, w.period_to, w.previous_quantity,
       w.quantity, w.unit, w.opening, w.closing, w.charge, w.flags, w.created_at,
       (SELECT timezone FROM span) AS timezone, (SELECT reading_mode FROM span) AS reading_mode,
       (SELECT coalesce(jsonb_agg(jsonb_build_object('name', s.name, 'cellphone', s.cellphone,
                                                     'weight', trim_scale(s.weight)::text, 'amount', s.amount::text)
                                  ORDER BY s.party_id), '[]')
        FROM bill_share s WHERE s.bill_id = w.id) AS residents
FROM wanted w
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
