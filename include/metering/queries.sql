-- name: find_rules
-- How a project is billed.
SELECT timezone, reading_mode, cut, month_end, boundary_tolerance, estimates_in_a_row, plausibility_factor,
       share_key, grace_days
FROM billing_project WHERE project_id = %(project)s

-- name: put_rules
-- New rules of a project, every one given.
INSERT INTO billing_project AS p (project_id, timezone, reading_mode, cut, month_end, boundary_tolerance,
                                  estimates_in_a_row, plausibility_factor, share_key, grace_days, updated_at)
VALUES (%(project)s, %(timezone)s, %(reading_mode)s, %(cut)s, %(month_end)s, %(boundary_tolerance)s,
        %(estimates_in_a_row)s, %(plausibility_factor)s, %(share_key)s, %(grace_days)s, %(now)s)
ON CONFLICT (project_id) DO UPDATE
SET timezone = excluded.timezone, reading_mode = excluded.reading_mode, cut = excluded.cut,
    month_end = excluded.month_end, boundary_tolerance = excluded.boundary_tolerance,
    estimates_in_a_row = excluded.estimates_in_a_row, plausibility_factor = excluded.plausibility_factor,
    share_key = excluded.share_key, grace_days = excluded.grace_days, updated_at = excluded.updated_at

-- name: request_rerates_of_project
-- Have the next run look again at the last bill of every service point that has one.
INSERT INTO rerate_request AS q (service_point_id, since, requested_at)
SELECT p.id, b.period_from, clock_timestamp()
FROM service_point p
CROSS JOIN LATERAL (SELECT period_from FROM bill WHERE service_point_id = p.id AND state <> 'void'
                     ORDER BY period_to DESC LIMIT 1) AS b
WHERE p.project_id = %(project)s
ORDER BY p.id
ON CONFLICT (service_point_id) DO UPDATE
SET since = least(q.since, excluded.since), requested_at = greatest(q.requested_at, excluded.requested_at)

-- name: put_premises
-- New and changed premises; a row says whether it is new, unchanged ones are left out.
INSERT INTO premise AS p (project_id, key, address, area)
SELECT %(project)s, key, address, area
FROM jsonb_to_recordset(%(items)s::jsonb) AS i (key text, address text[], area numeric)
ORDER BY key
ON CONFLICT (project_id, key) DO UPDATE SET address = excluded.address, area = excluded.area
WHERE (p.address, p.area) IS DISTINCT FROM (excluded.address, excluded.area)
RETURNING xmax = 0 AS created

-- name: find_premise
-- One premise.
SELECT key, address, area FROM premise WHERE project_id = %(project)s AND key = %(key)s

-- name: list_premises
-- Premises by key.
SELECT key, address, area FROM premise
WHERE project_id = %(project)s AND key > %(after)s ORDER BY key LIMIT %(limit)s

-- name: delete_premise
-- A premise goes; its service points refuse that.
DELETE FROM premise WHERE project_id = %(project)s AND key = %(key)s RETURNING id

-- name: known_premises
-- Which of these keys there are; they stay until the transaction ends.
SELECT key FROM premise WHERE project_id = %(project)s AND key = ANY(%(keys)s) ORDER BY id FOR KEY SHARE

-- name: put_usage_classes
-- New and changed usage classes, as with premises.
INSERT INTO usage_class AS u (project_id, key, daily_quantity)
SELECT %(project)s, key, daily_quantity
FROM jsonb_to_recordset(%(items)s::jsonb) AS i (key text, daily_quantity numeric)
ORDER BY key
ON CONFLICT (project_id, key) DO UPDATE SET daily_quantity = excluded.daily_quantity
WHERE u.daily_quantity <> excluded.daily_quantity
RETURNING xmax = 0 AS created

-- name: find_usage_class
-- One usage class.
SELECT key, daily_quantity FROM usage_class WHERE project_id = %(project)s AND key = %(key)s

-- name: list_usage_classes
-- Usage classes by key.
SELECT key, daily_quantity FROM usage_class
WHERE project_id = %(project)s AND key > %(after)s ORDER BY key LIMIT %(limit)s

-- name: delete_usage_class
-- A usage class goes; service points of it refuse that.
DELETE FROM usage_class WHERE project_id = %(project)s AND key = %(key)s RETURNING id

-- name: known_usage_classes
-- Which of these keys there are; they stay until the transaction ends.
SELECT key FROM usage_class WHERE project_id = %(project)s AND key = ANY(%(keys)s) ORDER BY id FOR KEY SHARE

-- name: put_service_points
-- New and changed service points, as with premises.
INSERT INTO service_point AS s (project_id, key, premise_id, commodity, subtype, usage_class_id)
SELECT %(project)s, i.key, p.id, i.commodity, i.subtype, u.id
FROM jsonb_to_recordset(%(items)s::jsonb)
     AS i (key text, premise text, commodity text, subtype text, usage_class text)
JOIN premise p ON p.project_id = %(project)s AND p.key = i.premise
LEFT JOIN usage_class u ON u.project_id = %(project)s AND u.key = i.usage_class
ORDER BY i.key
ON CONFLICT (project_id, key) DO UPDATE
SET premise_id = excluded.premise_id, commodity = excluded.commodity, subtype = excluded.subtype,
    usage_class_id = excluded.usage_class_id
WHERE (s.premise_id, s.commodity, s.subtype, s.usage_class_id)
      IS DISTINCT FROM (excluded.premise_id, excluded.commodity, excluded.subtype, excluded.usage_class_id)
RETURNING xmax = 0 AS created

-- name: lock_service_points
-- Service points, locked against other changes of what is there.
SELECT s.id, s.key, s.commodity,
       EXISTS (SELECT FROM meter_installation n WHERE n.service_point_id = s.id) AS measured
FROM service_point s
WHERE s.project_id = %(project)s AND s.key = ANY(%(keys)s)
ORDER BY s.id
FOR NO KEY UPDATE

-- name: find_service_point
-- One service point, with the meter that is there.
SELECT s.key, p.key AS premise, s.commodity, s.subtype, u.key AS usage_class,
       (SELECT m.device_id FROM meter_installation n JOIN meter m ON m.id = n.meter_id
        WHERE n.service_point_id = s.id AND n.valid_to = 'infinity') AS device_id
FROM service_point s
JOIN premise p ON p.id = s.premise_id
LEFT JOIN usage_class u ON u.id = s.usage_class_id
WHERE s.project_id = %(project)s AND s.key = %(key)s

-- name: list_service_points
-- Service points by key, with the meter that is there.
SELECT s.key, p.key AS premise, s.commodity, s.subtype, u.key AS usage_class,
       (SELECT m.device_id FROM meter_installation n JOIN meter m ON m.id = n.meter_id
        WHERE n.service_point_id = s.id AND n.valid_to = 'infinity') AS device_id
FROM service_point s
JOIN premise p ON p.id = s.premise_id
LEFT JOIN usage_class u ON u.id = s.usage_class_id
WHERE s.project_id = %(project)s AND s.key > %(after)s
  AND (%(premise)s::text IS NULL OR s.premise_id =
       (SELECT id FROM premise WHERE project_id = %(project)s AND key = %(premise)s))
  AND (%(commodity)s::text IS NULL OR s.commodity = %(commodity)s)
ORDER BY s.key LIMIT %(limit)s

-- name: delete_service_point
-- A service point goes; meters, people and tariffs of it refuse that.
DELETE FROM service_point WHERE project_id = %(project)s AND key = %(key)s RETURNING id

-- name: lock_meters
-- Meters with their registers, locked against other changes.
SELECT m.id, m.device_id, m.commodity,
       EXISTS (SELECT FROM meter_installation n WHERE n.meter_id = m.id AND n.valid_to = 'infinity') AS installed,
       ARRAY(SELECT row_to_json(r)::text FROM register r WHERE r.meter_id = m.id ORDER BY r.id) AS registers,
       ARRAY(SELECT r.kind FROM register r
             WHERE r.meter_id = m.id AND EXISTS (SELECT FROM reading g WHERE g.register_id = r.id)) AS used
FROM meter m
WHERE m.project_id = %(project)s AND m.device_id = ANY(%(device_ids)s)
ORDER BY m.id
FOR NO KEY UPDATE

-- name: put_meters
-- New and changed meters; a row says whether it is new, unchanged ones are left out.
INSERT INTO meter AS m (project_id, device_id, commodity)
SELECT %(project)s, device_id, commodity
FROM jsonb_to_recordset(%(items)s::jsonb) AS i (device_id text, commodity text)
ORDER BY device_id
ON CONFLICT (project_id, device_id) DO UPDATE SET commodity = excluded.commodity
WHERE m.commodity <> excluded.commodity
RETURNING device_id, xmax = 0 AS created

-- name: put_registers
-- The registers of these meters, new and changed; unchanged ones are left out.
INSERT INTO register AS r (meter_id, kind, unit, multiplier, modulus)
SELECT m.id, i.kind, i.unit, i.multiplier, i.modulus
FROM jsonb_to_recordset(%(items)s::jsonb)
     AS i (place integer, device_id text, kind text, unit text, multiplier numeric, modulus numeric)
JOIN meter m ON m.project_id = %(project)s AND m.device_id = i.device_id
ORDER BY m.id, i.place
ON CONFLICT (meter_id, kind) DO UPDATE
SET unit = excluded.unit, multiplier = excluded.multiplier, modulus = excluded.modulus
WHERE (r.unit, r.multiplier, r.modulus) IS DISTINCT FROM (excluded.unit, excluded.multiplier, excluded.modulus)
RETURNING (SELECT device_id FROM meter WHERE id = r.meter_id) AS device_id

-- name: drop_registers
-- Registers of these meters that are not among the kinds told.
DELETE FROM register r
USING jsonb_to_recordset(%(items)s::jsonb) AS i (device_id text, kinds text[])
JOIN meter m ON m.project_id = %(project)s AND m.device_id = i.device_id
WHERE r.meter_id = m.id AND r.kind <> ALL(i.kinds)
RETURNING i.device_id

-- name: find_meter
-- One meter with its registers and where it is.
SELECT m.device_id, m.commodity,
       (SELECT s.key FROM meter_installation n JOIN service_point s ON s.id = n.service_point_id
        WHERE n.meter_id = m.id AND n.valid_to = 'infinity') AS service_point,
       ARRAY(SELECT row_to_json(r)::text FROM register r WHERE r.meter_id = m.id ORDER BY r.id) AS registers
FROM meter m
WHERE m.project_id = %(project)s AND m.device_id = %(key)s

-- name: list_meters
-- Meters by device_id.
SELECT m.device_id, m.commodity,
       (SELECT s.key FROM meter_installation n JOIN service_point s ON s.id = n.service_point_id
        WHERE n.meter_id = m.id AND n.valid_to = 'infinity') AS service_point,
       ARRAY(SELECT row_to_json(r)::text FROM register r WHERE r.meter_id = m.id ORDER BY r.id) AS registers
FROM meter m
WHERE m.project_id = %(project)s AND m.device_id > %(after)s
  AND (%(commodity)s::text IS NULL OR m.commodity = %(commodity)s)
ORDER BY m.device_id LIMIT %(limit)s

-- name: delete_registers
-- The registers of a meter that was never installed.
DELETE FROM register r USING meter m
WHERE m.project_id = %(project)s AND m.device_id = %(key)s AND r.meter_id = m.id
  AND NOT EXISTS (SELECT FROM meter_installation n WHERE n.meter_id = m.id)

-- name: delete_meter
-- A meter goes; its installations refuse that.
DELETE FROM meter WHERE project_id = %(project)s AND device_id = %(key)s RETURNING id

-- name: stays_in_the_way
-- Installations that last until after a new one begins, at its service point or of its meter.
WITH item AS (
    SELECT * FROM jsonb_to_recordset(%(items)s::jsonb)
        AS i (row integer, service_point_id bigint, meter_id bigint, installed_at timestamptz)
), stay AS (
    SELECT i.row, n.* FROM item i JOIN meter_installation n
        ON n.service_point_id = i.service_point_id AND n.valid_to > i.installed_at
    UNION
    SELECT i.row, n.* FROM item i JOIN meter_installation n
        ON n.meter_id = i.meter_id AND n.valid_to > i.installed_at
)
SELECT y.row, y.id, s.key AS service_point, m.device_id, y.valid_from AS installed_at,
       nullif(y.valid_to, 'infinity') AS removed_at,
       (SELECT coalesce(jsonb_object_agg(r.kind, g.value::text), '{}')
        FROM register r JOIN reading g ON g.register_id = r.id
        WHERE r.meter_id = y.meter_id AND g.installation_id = y.id AND g.source = 'install'
          AND g.read_at = y.valid_from) AS initial_readings
FROM stay y
JOIN service_point s ON s.id = y.service_point_id
JOIN meter m ON m.id = y.meter_id
ORDER BY y.row, y.valid_from, y.id

-- name: insert_installations
-- Meters come.
INSERT INTO meter_installation (meter_id, service_point_id, valid_from)
SELECT meter_id, service_point_id, installed_at
FROM jsonb_to_recordset(%(items)s::jsonb)
     AS i (service_point_id bigint, meter_id bigint, installed_at timestamptz)
ORDER BY service_point_id
RETURNING id, meter_id

-- name: insert_initial_readings
-- The displays of meters that come: each begins a new life of its counter.
INSERT INTO reading (register_id, installation_id, read_at, value, total, source, quality)
SELECT r.id, i.installation_id, i.installed_at, i.value, i.value, 'install', 'ok'
FROM jsonb_to_recordset(%(items)s::jsonb)
     AS i (installation_id bigint, meter_id bigint, installed_at timestamptz, kind text, value numeric)
JOIN register r ON r.meter_id = i.meter_id AND r.kind = i.kind
ORDER BY i.installation_id, r.id

-- name: last_stay
-- The last installation of a service point.
SELECT n.id, n.meter_id, m.device_id, n.valid_from AS installed_at, nullif(n.valid_to, 'infinity') AS removed_at
FROM meter_installation n JOIN meter m ON m.id = n.meter_id
WHERE n.service_point_id = %(service_point_id)s
ORDER BY n.valid_from DESC LIMIT 1

-- name: lock_registers
-- The registers of a meter, locked as a batch of readings locks them.
SELECT id FROM register WHERE meter_id = %(meter_id)s ORDER BY id FOR NO KEY UPDATE

-- name: last_readings
-- Of each register of an installation its last good reading up to a moment, the first good one of the 90 days before that, and whether there are later ones.
SELECT r.id AS register_id, r.kind, r.modulus, g.read_at, g.value, g.total,
       h.read_at AS history_at, h.value AS history_value, h.total AS history_total,
       EXISTS (SELECT FROM good_readings(r.id, %(id)s, 'infinity') l WHERE l.read_at > %(at)s) AS later
FROM register r
CROSS JOIN LATERAL (SELECT * FROM good_readings(r.id, %(id)s, 'infinity') l
                    WHERE l.read_at <= %(at)s ORDER BY l.read_at DESC, l.id DESC LIMIT 1) g
CROSS JOIN LATERAL (SELECT * FROM good_readings(r.id, %(id)s, 'infinity') l
                    WHERE l.read_at BETWEEN g.read_at - interval '90 days' AND g.read_at
                    ORDER BY l.read_at, l.id DESC LIMIT 1) h
WHERE r.meter_id = %(meter_id)s
ORDER BY r.id

-- name: end_installation
-- A meter goes.
UPDATE meter_installation SET valid_to = %(at)s WHERE id = %(id)s

-- name: insert_final_readings
-- The displays of a meter that goes.
INSERT INTO reading (register_id, installation_id, read_at, value, total, source, quality)
SELECT register_id, %(id)s, %(at)s, value, total, 'remove', 'ok'
FROM jsonb_to_recordset(%(items)s::jsonb) AS i (register_id bigint, value numeric, total numeric)

-- name: list_installations
-- Installations of a service point or of a meter, the first one first, with the displays at both ends as far as they were not corrected, else as corrected.
SELECT n.id, s.key AS service_point, m.device_id, n.valid_from AS installed_at,
       nullif(n.valid_to, 'infinity') AS removed_at, v.initial_readings, v.final_readings
FROM meter_installation n
JOIN service_point s ON s.id = n.service_point_id
JOIN meter m ON m.id = n.meter_id
CROSS JOIN LATERAL (
    WITH RECURSIVE chain AS (
        SELECT g.id, g.source, g.value, r.kind
        FROM register r
        JOIN reading g ON g.register_id = r.id AND g.installation_id = n.id
            AND (g.source, g.read_at) IN (('install', n.valid_from), ('remove', n.valid_to))
        WHERE r.meter_id = n.meter_id
        UNION ALL
        SELECT c.id, chain.source, c.value, chain.kind
        FROM chain JOIN reading c ON c.supersedes_id = chain.id
    )
    SELECT coalesce(jsonb_object_agg(kind, value::text) FILTER (WHERE source = 'install'), '{}') AS initial_readings,
           coalesce(jsonb_object_agg(kind, value::text) FILTER (WHERE source = 'remove'), '{}') AS final_readings
    FROM chain
    WHERE NOT EXISTS (SELECT FROM reading c WHERE c.supersedes_id = chain.id)
) v
WHERE s.project_id = %(project)s AND n.id > %(after)s
  AND (%(service_point)s::text IS NULL OR s.key = %(service_point)s)
  AND (%(device_id)s::text IS NULL OR m.device_id = %(device_id)s)
ORDER BY n.id LIMIT %(limit)s

-- name: put_parties
-- New and changed parties, as with premises.
INSERT INTO party AS p (project_id, key, name, cellphone)
SELECT %(project)s, key, name, cellphone
FROM jsonb_to_recordset(%(items)s::jsonb) AS i (key text, name text, cellphone text)
ORDER BY key
ON CONFLICT (project_id, key) DO UPDATE SET name = excluded.name, cellphone = excluded.cellphone
WHERE (p.name, p.cellphone) IS DISTINCT FROM (excluded.name, excluded.cellphone)
RETURNING xmax = 0 AS created

-- name: find_party
-- One party.
SELECT key, name, cellphone FROM party WHERE project_id = %(project)s AND key = %(key)s

-- name: list_parties
-- Parties by key.
SELECT key, name, cellphone FROM party
WHERE project_id = %(project)s AND key > %(after)s ORDER BY key LIMIT %(limit)s

-- name: delete_party
-- A party goes; its occupancies refuse that.
DELETE FROM party WHERE project_id = %(project)s AND key = %(key)s RETURNING id

-- name: party_ids
-- The ids of parties by key; they stay until the transaction ends.
SELECT key, id FROM party WHERE project_id = %(project)s AND key = ANY(%(keys)s) ORDER BY id FOR KEY SHARE

-- name: occupancies_in_the_way
-- Occupancies of the same party at the same service point that overlap those told.
SELECT i.row, o.service_point_id, o.party_id, o.valid_from AS moved_in_at,
       nullif(o.valid_to, 'infinity') AS moved_out_at
FROM jsonb_to_recordset(%(items)s::jsonb)
     AS i (row integer, service_point_id bigint, party_id bigint, moved_in_at timestamptz, moved_out_at timestamptz)
JOIN occupancy o ON o.service_point_id = i.service_point_id AND o.party_id = i.party_id
    AND tstzrange(o.valid_from, o.valid_to) && tstzrange(i.moved_in_at, coalesce(i.moved_out_at, 'infinity'))
ORDER BY i.row, o.valid_from

-- name: change_occupancies
-- Occupancies that are there already, by service point, party and beginning; a row says since when it is another one,
-- null where nothing changed.
UPDATE occupancy o
SET valid_to = CASE WHEN %(ends)s THEN coalesce(i.moved_out_at, 'infinity') ELSE o.valid_to END,
    persons = i.persons, weight = i.weight
FROM jsonb_to_recordset(%(items)s::jsonb)
     AS i (row integer, service_point_id bigint, party_id bigint, moved_in_at timestamptz,
           moved_out_at timestamptz, persons integer, weight numeric),
     occupancy old
WHERE o.service_point_id = i.service_point_id AND o.party_id = i.party_id AND o.valid_from = i.moved_in_at
  AND old.id = o.id
RETURNING i.row,
          CASE WHEN (o.persons, o.weight) IS DISTINCT FROM (old.persons, old.weight) THEN o.valid_from
               WHEN o.valid_to <> old.valid_to THEN least(o.valid_to, old.valid_to) END AS changed_since

-- name: insert_occupancies
-- Parties move in.
INSERT INTO occupancy (service_point_id, party_id, valid_from, valid_to, persons, weight)
SELECT service_point_id, party_id, moved_in_at, coalesce(moved_out_at, 'infinity'), persons, weight
FROM jsonb_to_recordset(%(items)s::jsonb)
     AS i (service_point_id bigint, party_id bigint, moved_in_at timestamptz, moved_out_at timestamptz,
           persons integer, weight numeric)
ORDER BY service_point_id

-- name: end_occupancy
-- A party that lives there moves out.
UPDATE occupancy SET valid_to = %(at)s WHERE id = %(id)s

-- name: delete_occupancy
-- An occupancy that never was.
DELETE FROM occupancy WHERE id = %(id)s AND service_point_id = %(service_point_id)s RETURNING valid_from AS moved_in_at

-- name: list_occupancies
-- Who lives and lived at a service point, the first entry first.
SELECT o.id, s.key AS service_point, p.key AS party, p.name, o.valid_from AS moved_in_at,
       nullif(o.valid_to, 'infinity') AS moved_out_at, o.persons, o.weight
FROM occupancy o
JOIN service_point s ON s.id = o.service_point_id
JOIN party p ON p.id = o.party_id
WHERE s.project_id = %(project)s AND s.key = %(service_point)s AND o.id > %(after)s
  AND (%(party)s::text IS NULL OR p.key = %(party)s)
ORDER BY o.id LIMIT %(limit)s

-- name: occupancies_of
-- All occupancies of service points, for their households.
SELECT service_point_id, party_id, valid_from, nullif(valid_to, 'infinity') AS valid_to, persons, weight
FROM occupancy WHERE service_point_id = ANY(%(ids)s)
ORDER BY service_point_id, valid_from, id

-- name: delete_households
-- The households of service points, to be written again.
DELETE FROM household WHERE service_point_id = ANY(%(ids)s)

-- name: insert_households
-- Households as they follow from the occupancies.
INSERT INTO household (service_point_id, valid_from, valid_to, persons, since)
SELECT service_point_id, valid_from, coalesce(valid_to, 'infinity'), persons, since
FROM jsonb_to_recordset(%(items)s::jsonb)
     AS i (service_point_id bigint, valid_from timestamptz, valid_to timestamptz, persons integer, since timestamptz)

-- name: list_households
-- The households of a service point, the first one first.
SELECT h.valid_from, nullif(h.valid_to, 'infinity') AS valid_to, h.persons, h.since
FROM household h JOIN service_point s ON s.id = h.service_point_id
WHERE s.project_id = %(project)s AND s.key = %(service_point)s
ORDER BY h.valid_from
