-- name: share_readings
-- Readings of a project are being recorded in this transaction.
SELECT pg_advisory_xact_lock_shared(%(key)s)

-- name: close_readings
-- None are being recorded, and none will be until this transaction ends.
SELECT pg_advisory_xact_lock(%(key)s)

-- name: moment
-- The present moment, after whatever this transaction waited for.
SELECT clock_timestamp() AS now

-- name: project_rules
-- How a project's readings are understood; no row for one that is billed by the defaults.
SELECT timezone, reading_mode, plausibility_factor, boundary_tolerance
FROM billing_project
WHERE project_id = %(project_id)s

-- name: lock_registers
-- These registers of a project's meters, locked in one order, so that batches for one register take turns.
SELECT r.id, r.kind, r.modulus, m.id AS meter_id, m.device_id
FROM unnest(%(device_ids)s::text[], %(kinds)s::text[]) AS wanted (device_id, kind)
JOIN meter m ON m.project_id = %(project_id)s AND m.device_id = wanted.device_id
JOIN register r ON r.meter_id = m.id AND r.kind = wanted.kind
ORDER BY r.id
FOR NO KEY UPDATE OF r

-- name: known_devices
-- Which of these devices the project has.
SELECT device_id FROM meter WHERE project_id = %(project_id)s AND device_id = ANY(%(device_ids)s::text[])

-- name: find_installations
-- The stays of these meters that touch a span, each with the end of the last bill of its service point, or of a
-- run that may be making one: what such a run bills is not seen before it commits.
SELECT i.id, i.meter_id, i.service_point_id, i.valid_from, nullif(i.valid_to, 'infinity') AS valid_to,
       greatest((SELECT b.period_to FROM bill b
                  WHERE b.service_point_id = i.service_point_id AND b.state <> 'void'
                  ORDER BY b.period_to DESC LIMIT 1),
                runs.period_to) AS billed_to
FROM meter_installation i
JOIN meter m ON m.id = i.meter_id
LEFT JOIN (SELECT commodity, max(period_to) AS period_to FROM billing_run
            WHERE project_id = %(project_id)s AND state <> 'succeeded'
            GROUP BY commodity) AS runs ON runs.commodity = m.commodity
WHERE i.meter_id = ANY(%(meter_ids)s::bigint[])
  AND i.valid_from <= %(last)s AND i.valid_to >= %(first)s
ORDER BY i.meter_id, i.valid_from

-- name: surrounding_readings
-- Of each chain (register and installation) the last good reading before a span, all in it, the first good one
-- after it. The installation is compared last: as a condition of the scan it would have the planner expect hardly
-- a row, and read and sort a register's whole history. Of several at one moment, of which one may belong to the
-- installation before, three are enough. What is in the span and not good still takes its moment and source.
SELECT c.ordinal, r.id, r.read_at, r.value, r.total, r.source, r.good AND r.installation_id = c.installation_id,
       r.supersedes_id IS NULL
FROM unnest(%(register_ids)s::bigint[], %(installation_ids)s::bigint[], %(firsts)s::timestamptz[],
            %(lasts)s::timestamptz[])
     WITH ORDINALITY AS c (register_id, installation_id, first_at, last_at, ordinal)
CROSS JOIN LATERAL (
    (SELECT n.*, true AS good FROM (
         SELECT * FROM reading b
          WHERE b.register_id = c.register_id AND b.read_at < c.first_at AND b.quality <> 'suspect'
            AND NOT EXISTS (SELECT FROM reading s WHERE s.supersedes_id = b.id)
          ORDER BY b.read_at DESC, b.id DESC LIMIT 3) AS n
      WHERE n.installation_id = c.installation_id ORDER BY n.read_at DESC, n.id DESC LIMIT 1)
    UNION ALL
    (SELECT o.*, o.quality <> 'suspect' AND NOT EXISTS (SELECT FROM reading s WHERE s.supersedes_id = o.id)
       FROM reading o
      WHERE o.register_id = c.register_id AND o.read_at BETWEEN c.first_at AND c.last_at)
    UNION ALL
    (SELECT n.*, true FROM (
         SELECT * FROM reading a
          WHERE a.register_id = c.register_id AND a.read_at > c.last_at AND a.quality <> 'suspect'
            AND NOT EXISTS (SELECT FROM reading s WHERE s.supersedes_id = a.id)
          ORDER BY a.read_at, a.id LIMIT 3) AS n
      WHERE n.installation_id = c.installation_id ORDER BY n.read_at, n.id LIMIT 1)
) AS r
ORDER BY c.ordinal, r.read_at, r.id

-- name: history_starts
-- Of each chain the earliest good reading of the 90 days before a moment, and not before the installation.
SELECT c.ordinal, r.read_at, r.value, r.total
FROM unnest(%(register_ids)s::bigint[], %(since)s::timestamptz[], %(moments)s::timestamptz[])
     WITH ORDINALITY AS c (register_id, since, moment, ordinal)
CROSS JOIN LATERAL (
    SELECT g.read_at, g.value, g.total FROM reading g
     WHERE g.register_id = c.register_id AND g.read_at < c.moment
       AND g.read_at >= greatest(c.moment - %(span)s::interval, c.since)
       AND g.quality <> 'suspect' AND NOT EXISTS (SELECT FROM reading s WHERE s.supersedes_id = g.id)
     ORDER BY g.read_at, g.id DESC LIMIT 1
) AS r

-- name: copy_readings
-- New readings, streamed.
COPY reading (register_id, installation_id, read_at, recorded_at, value, total, top_up, source, quality, note)
FROM STDIN

-- name: queue_suspects
-- An entry in the exceptions queue for each suspect reading just stored.
INSERT INTO billing_exception (project_id, service_point_id, meter_id, reading_id, kind, detail, parked, created_at)
SELECT %(project_id)s, q.service_point_id, q.meter_id, r.id, q.kind, q.detail, false, %(now)s
FROM unnest(%(register_ids)s::bigint[], %(moments)s::timestamptz[], %(sources)s::text[],
            %(service_point_ids)s::bigint[], %(meter_ids)s::bigint[], %(kinds)s::text[], %(details)s::text[])
     AS q (register_id, read_at, source, service_point_id, meter_id, kind, detail)
JOIN reading r ON r.register_id = q.register_id AND r.read_at = q.read_at AND r.source = q.source
             AND r.supersedes_id IS NULL
ON CONFLICT DO NOTHING

-- name: request_rerates
-- Have the next run look again at bills of these service points that end after a moment, and at those that a run
-- may be making.
INSERT INTO rerate_request (service_point_id, since, requested_at)
SELECT q.service_point_id, q.since, clock_timestamp()
FROM unnest(%(service_point_ids)s::bigint[], %(since)s::timestamptz[]) AS q (service_point_id, since)
JOIN service_point p ON p.id = q.service_point_id
LEFT JOIN (SELECT commodity, max(period_to) AS period_to FROM billing_run
            WHERE project_id = %(project_id)s AND state <> 'succeeded'
            GROUP BY commodity) AS runs ON runs.commodity = p.commodity
WHERE EXISTS (SELECT FROM bill b
               WHERE b.service_point_id = p.id AND b.period_to > q.since AND b.state <> 'void')
   OR (q.since < runs.period_to AND EXISTS (SELECT FROM meter_installation i WHERE i.service_point_id = p.id))
ORDER BY q.service_point_id
ON CONFLICT (service_point_id) DO UPDATE
SET since = least(rerate_request.since, EXCLUDED.since),
    requested_at = greatest(rerate_request.requested_at, EXCLUDED.requested_at)

-- name: find_reading
-- A reading with its meter, for a caller of these projects.
SELECT r.id, m.project_id, m.device_id, m.id AS meter_id, g.id AS register_id, g.kind, g.modulus,
       r.installation_id, r.read_at, r.value, r.total, r.top_up, r.source, r.quality,
       (SELECT s.id FROM reading s WHERE s.supersedes_id = r.id) AS superseded_by_id
FROM reading r
JOIN register g ON g.id = r.register_id
JOIN meter m ON m.id = g.meter_id
WHERE r.id = %(id)s
  AND (%(projects)s::text[] IS NULL OR m.project_id = ANY(%(projects)s))

-- name: lock_register
-- A register, locked as a batch locks it.
SELECT id FROM register WHERE id = %(id)s FOR NO KEY UPDATE

-- name: insert_correction
-- A reading that stands for another one.
INSERT INTO reading (register_id, installation_id, read_at, recorded_at, value, total, top_up, source, quality,
                     supersedes_id, note)
SELECT register_id, installation_id, read_at, %(now)s, %(value)s, %(total)s, top_up, 'correction', %(quality)s,
       id, %(note)s
FROM reading
WHERE id = %(id)s
RETURNING id

-- name: shift_readings
-- All good readings of a chain after a moment once more, with totals that are moved by a number of turns.
INSERT INTO reading (register_id, installation_id, read_at, recorded_at, value, total, top_up, source, quality,
                     supersedes_id, note)
SELECT r.register_id, r.installation_id, r.read_at, %(now)s, r.value, r.total + %(shift)s, r.top_up, 'correction',
       r.quality, r.id, %(note)s
FROM reading r
WHERE r.register_id = %(register_id)s AND r.installation_id = %(installation_id)s AND r.read_at > %(after)s
  AND r.quality <> 'suspect'
  AND NOT EXISTS (SELECT FROM reading s WHERE s.supersedes_id = r.id)

-- name: resolve_reading_exceptions
-- Whatever the queue holds about a reading is settled.
UPDATE billing_exception
SET state = 'resolved', resolution = %(resolution)s, actor = %(actor)s, resolved_at = %(now)s
WHERE reading_id = %(reading_id)s AND service_point_id = %(service_point_id)s AND state = 'open'

-- name: audit_reading
-- Who changed what a reading says, and why.
INSERT INTO billing_audit (project_id, entity, entity_id, action, actor, detail, at)
VALUES (%(project_id)s, 'reading', %(reading_id)s, %(action)s, %(actor)s, %(detail)s, %(now)s)

-- name: find_meter
-- A meter of a project.
SELECT id FROM meter WHERE project_id = %(project_id)s AND device_id = %(device_id)s

-- name: list_readings
-- A page of a meter's readings, the newest first, as they were known at a moment.
SELECT page.id, g.kind AS register, page.installation_id, page.read_at, page.recorded_at, page.value, page.total,
       page.top_up, page.source, page.quality, page.supersedes_id, page.superseded_by_id, page.note
FROM register g
CROSS JOIN LATERAL (
    SELECT r.*, s.id AS superseded_by_id
      FROM reading r
      LEFT JOIN reading s ON s.supersedes_id = r.id AND s.recorded_at <= %(known_at)s
     WHERE r.register_id = g.id AND r.recorded_at <= %(known_at)s
       AND r.read_at >= %(read_from)s AND r.read_at < %(read_to)s
       AND (%(quality)s::text IS NULL OR r.quality = %(quality)s)
       AND (%(superseded)s OR s.id IS NULL)
       AND (%(before_read)s::timestamptz IS NULL OR (r.read_at, r.id) < (%(before_read)s, %(before_id)s::bigint))
     ORDER BY r.read_at DESC, r.id DESC LIMIT %(limit)s
) AS page
WHERE g.meter_id = %(meter_id)s AND (%(kind)s::text IS NULL OR g.kind = %(kind)s)
ORDER BY page.read_at DESC, page.id DESC
LIMIT %(limit)s

-- name: list_missing
-- Meters installed at a boundary of which a register has no good reading within the tolerance before it.
SELECT m.id AS meter_id, m.device_id, m.commodity, p.id AS service_point_id, p.key AS service_point,
       lacking.registers, lacking.last_read_at
FROM meter m
JOIN meter_installation i ON i.meter_id = m.id AND i.valid_from < %(at)s AND i.valid_to >= %(at)s
JOIN service_point p ON p.id = i.service_point_id
CROSS JOIN LATERAL (
    SELECT array_agg(g.kind ORDER BY g.id) FILTER (
               WHERE last.read_at IS NULL OR last.read_at < %(at)s::timestamptz - %(tolerance)s::interval) AS registers,
           max(last.read_at) AS last_read_at
    FROM register g
    LEFT JOIN LATERAL (
        SELECT r.read_at FROM reading r
         WHERE r.register_id = g.id AND r.read_at <= %(at)s AND r.read_at >= i.valid_from
           AND r.quality <> 'suspect' AND NOT EXISTS (SELECT FROM reading s WHERE s.supersedes_id = r.id)
         ORDER BY r.read_at DESC LIMIT 1) AS last ON true
    WHERE g.meter_id = m.id
) AS lacking
WHERE m.project_id = %(project_id)s AND m.id > %(after)s
  AND (%(commodity)s::text IS NULL OR m.commodity = %(commodity)s)
  AND lacking.registers IS NOT NULL
ORDER BY m.id
LIMIT %(limit)s

-- name: note_failed_pull
-- That a source of readings did not answer: one open entry a project.
INSERT INTO billing_exception (project_id, kind, detail, parked, created_at)
SELECT %(project_id)s, 'pull_failed', %(detail)s, false, %(now)s
WHERE NOT EXISTS (SELECT FROM billing_exception
                   WHERE project_id = %(project_id)s AND kind = 'pull_failed' AND state = 'open'
                     AND service_point_id IS NULL)

-- name: note_refused_pulls
-- That a source answered for these meters what cannot be used.
INSERT INTO billing_exception (project_id, service_point_id, meter_id, kind, detail, parked, created_at)
SELECT %(project_id)s, q.service_point_id, q.meter_id, 'pull_failed', q.detail, false, %(now)s
FROM unnest(%(service_point_ids)s::bigint[], %(meter_ids)s::bigint[], %(details)s::text[])
     AS q (service_point_id, meter_id, detail)
ON CONFLICT DO NOTHING

-- name: list_exceptions
-- A page of the exceptions queue by ascending id, or the entry with this id.
SELECT e.id, e.project_id, e.kind, e.state, e.detail, e.parked, e.service_point_id, p.key AS service_point,
       m.device_id, e.reading_id, e.run_id, e.resolution, e.actor, e.created_at, e.resolved_at
FROM billing_exception e
LEFT JOIN service_point p ON p.id = e.service_point_id
LEFT JOIN meter m ON m.id = e.meter_id
WHERE e.id > %(after)s
  AND (%(id)s::bigint IS NULL OR e.id = %(id)s)
  AND (%(projects)s::text[] IS NULL OR e.project_id = ANY(%(projects)s))
  AND (%(state)s::text IS NULL OR e.state = %(state)s)
  AND (%(kind)s::text IS NULL OR e.kind = %(kind)s)
ORDER BY e.id
LIMIT %(limit)s

-- name: resolve_exception
-- Settle an entry that is still open.
UPDATE billing_exception
SET state = 'resolved', resolution = %(resolution)s, actor = %(actor)s, resolved_at = %(now)s
WHERE id = %(id)s AND state = 'open'
