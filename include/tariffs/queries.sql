-- name: project_timezone
-- The time zone of a project; no row for one that is billed by the defaults.
SELECT timezone FROM billing_project WHERE project_id = %(project_id)s

-- name: list_tariffs
-- A page of a project's tariffs by key, or the one with this key.
SELECT t.id, t.key, t.name, t.commodity, t.currency,
       (SELECT count(*) FROM tariff_version v WHERE v.tariff_id = t.id) AS versions
FROM tariff t
WHERE t.project_id = %(project_id)s AND t.key > %(after)s AND (%(key)s::text IS NULL OR t.key = %(key)s)
ORDER BY t.key
LIMIT %(limit)s

-- name: put_tariff
-- Make or replace a tariff. What versions and assignments rely on stays: without a row it was not replaced.
INSERT INTO tariff (project_id, key, name, commodity, currency)
VALUES (%(project_id)s, %(key)s, %(name)s, %(commodity)s, %(currency)s)
ON CONFLICT (project_id, key) DO UPDATE
SET name = EXCLUDED.name, commodity = EXCLUDED.commodity, currency = EXCLUDED.currency
WHERE (tariff.commodity, tariff.currency) = (EXCLUDED.commodity, EXCLUDED.currency)
   OR NOT EXISTS (SELECT FROM tariff_version v WHERE v.tariff_id = tariff.id)
  AND NOT EXISTS (SELECT FROM tariff_assignment a WHERE a.tariff_id = tariff.id)
RETURNING xmax = 0 AS created

-- name: insert_version
-- A version with all its parts; no row where the tariff has one of that date.
WITH version AS (
    INSERT INTO tariff_version (tariff_id, effective_from, frame, mode, on_occupant_change, energy_price,
                                persons_base, minimum_charge, holidays, weekend_is_holiday)
    VALUES (%(tariff_id)s, %(effective_from)s, %(frame)s, %(mode)s, %(on_occupant_change)s, %(energy_price)s,
            %(persons_base)s, %(minimum_charge)s, %(holidays)s::date[], %(weekend_is_holiday)s)
    ON CONFLICT ON CONSTRAINT tariff_version_once DO NOTHING
    RETURNING id
), tiers AS (
    INSERT INTO tier (version_id, ordinal, upper_limit, price, persons_step, kind_prices)
    SELECT v.id, t.ordinal, t.upper_limit, t.price, t.persons_step, nullif(t.kind_prices, '{}')
    FROM version v, jsonb_to_recordset(%(tiers)s::jsonb)
        AS t (ordinal smallint, upper_limit numeric, price numeric, persons_step numeric, kind_prices jsonb)
), prices AS (
    INSERT INTO tou_price (version_id, kind, price)
    SELECT v.id, p.kind, p.price
    FROM version v, jsonb_to_recordset(%(tou_prices)s::jsonb) AS p (kind text, price numeric)
), windows AS (
    INSERT INTO tou_window (version_id, ordinal, season_from, season_to, day_type, start_minute, end_minute, kind)
    SELECT v.id, w.ordinal, w.season_from, w.season_to, w.day_type, w.start_minute, w.end_minute, w.kind
    FROM version v, jsonb_to_recordset(%(tou_windows)s::jsonb)
        AS w (ordinal smallint, season_from smallint, season_to smallint, day_type text, start_minute smallint,
              end_minute smallint, kind text)
), charges AS (
    INSERT INTO fixed_charge (version_id, ordinal, name, basis, amount)
    SELECT v.id, c.ordinal, c.name, c.basis, c.amount
    FROM version v, jsonb_to_recordset(%(fixed_charges)s::jsonb)
        AS c (ordinal smallint, name text, basis text, amount numeric)
), taxes AS (
    INSERT INTO tax_rule (version_id, category, rate, inclusive)
    SELECT v.id, r.category, r.rate, r.inclusive
    FROM version v, jsonb_to_recordset(%(tax_rules)s::jsonb) AS r (category text, rate numeric, inclusive boolean)
)
SELECT id FROM version

-- name: load_versions
-- All versions of these tariffs with all their parts, by date.
SELECT v.id, v.tariff_id, v.effective_from, v.frame, v.mode, v.on_occupant_change, v.energy_price, v.persons_base,
       v.minimum_charge, v.holidays, v.weekend_is_holiday,
       (SELECT coalesce(jsonb_agg(jsonb_build_array(t.ordinal, t.upper_limit::text, t.price::text,
                                  t.persons_step::text, coalesce(t.kind_prices, '{}')) ORDER BY t.ordinal), '[]')
          FROM tier t WHERE t.version_id = v.id) AS tiers,
       (SELECT coalesce(jsonb_object_agg(p.kind, p.price::text), '{}')
          FROM tou_price p WHERE p.version_id = v.id) AS tou_prices,
       (SELECT coalesce(jsonb_agg(jsonb_build_array(w.season_from, w.season_to, w.day_type, w.start_minute,
                                  w.end_minute, w.kind) ORDER BY w.ordinal), '[]')
          FROM tou_window w WHERE w.version_id = v.id) AS tou_windows,
       (SELECT coalesce(jsonb_agg(jsonb_build_array(c.name, c.basis, c.amount::text) ORDER BY c.ordinal), '[]')
          FROM fixed_charge c WHERE c.version_id = v.id) AS fixed_charges,
       (SELECT coalesce(jsonb_agg(jsonb_build_array(r.category, r.rate::text, r.inclusive)
                                  ORDER BY r.category), '[]')
          FROM tax_rule r WHERE r.version_id = v.id) AS tax_rules
FROM tariff_version v
WHERE v.tariff_id = ANY(%(tariff_ids)s::bigint[])
ORDER BY v.tariff_id, v.effective_from

-- name: find_service_point
-- A service point of a project.
SELECT id, commodity, subtype FROM service_point WHERE project_id = %(project_id)s AND key = %(key)s

-- name: insert_assignment
-- A tariff for a span; the table refuses spans that overlap.
INSERT INTO tariff_assignment (project_id, tariff_id, service_point_id, commodity, subtype, valid_from, valid_to)
VALUES (%(project_id)s, %(tariff_id)s, %(service_point_id)s, %(commodity)s, %(subtype)s, %(valid_from)s,
        coalesce(%(valid_to)s::timestamptz, 'infinity'))
RETURNING id

-- name: list_assignments
-- A page of a project's assignments by ascending id, or the one with this id.
SELECT a.id, t.key AS tariff, p.key AS service_point, a.service_point_id, a.commodity, a.subtype, a.valid_from,
       nullif(a.valid_to, 'infinity') AS valid_to
FROM tariff_assignment a
JOIN tariff t ON t.id = a.tariff_id
LEFT JOIN service_point p ON p.id = a.service_point_id
WHERE a.project_id = %(project_id)s AND a.id > %(after)s
  AND (%(id)s::bigint IS NULL OR a.id = %(id)s)
  AND (%(tariff)s::text IS NULL OR t.key = %(tariff)s)
  AND (%(service_point)s::text IS NULL OR p.key = %(service_point)s)
ORDER BY a.id
LIMIT %(limit)s

-- name: end_assignment
-- Give an assignment another end.
UPDATE tariff_assignment
SET valid_to = coalesce(%(valid_to)s::timestamptz, 'infinity')
WHERE id = %(id)s AND project_id = %(project_id)s

-- name: delete_assignment
-- Take an assignment away that no bill can have been made by.
DELETE FROM tariff_assignment a
WHERE a.id = %(id)s AND a.project_id = %(project_id)s
  AND NOT EXISTS (SELECT FROM bill b
                   WHERE b.project_id = a.project_id AND b.commodity = a.commodity AND b.state <> 'void'
                     AND b.period_from < a.valid_to AND b.period_to > a.valid_from
                     AND (a.service_point_id IS NULL OR b.service_point_id = a.service_point_id))

-- name: find_applied
-- What holds at a service point at a moment: its own assignment, where there is none then the default of its subtype,
-- where there is none the default for all.
SELECT a.id AS assignment_id,
       CASE WHEN a.service_point_id IS NOT NULL THEN 'own' WHEN a.subtype IS NOT NULL THEN 'subtype'
            ELSE 'default' END AS source,
       t.key AS tariff, v.id AS version_id, v.tariff_id
FROM service_point p
CROSS JOIN LATERAL (
    SELECT * FROM tariff_assignment a
    WHERE a.valid_from <= %(at)s AND a.valid_to > %(at)s
      AND (a.service_point_id = p.id
           OR (a.service_point_id IS NULL AND a.project_id = p.project_id AND a.commodity = p.commodity
               AND (a.subtype IS NULL OR a.subtype = p.subtype)))
    ORDER BY a.service_point_id IS NULL, a.subtype IS NULL LIMIT 1) AS a
JOIN tariff t ON t.id = a.tariff_id
CROSS JOIN LATERAL (SELECT id, tariff_id FROM tariff_version
                     WHERE tariff_id = t.id AND effective_from <= %(at)s
                     ORDER BY effective_from DESC LIMIT 1) AS v
WHERE p.id = %(service_point_id)s

-- name: spans_of_version
-- When and where a version holds: its tariff's assignments from its date until that of the next version.
SELECT a.service_point_id, a.subtype, greatest(a.valid_from, v.effective_from) AS first,
       nullif(least(a.valid_to, coalesce(n.effective_from, 'infinity')), 'infinity') AS until
FROM tariff_version v
JOIN tariff_assignment a ON a.tariff_id = v.tariff_id
LEFT JOIN LATERAL (SELECT min(effective_from) AS effective_from FROM tariff_version
                    WHERE tariff_id = v.tariff_id AND effective_from > v.effective_from) AS n ON true
WHERE v.id = %(version_id)s
  AND a.valid_to > v.effective_from AND (n.effective_from IS NULL OR a.valid_from < n.effective_from)

-- name: request_rerates
-- Have the next run look again at bills that end after the beginning of such a span, of all service points at which the
-- assignment holds in it (see find_applied) and that have a bill there or may be getting one; where they have one, only
-- if that is forced. One row: how many have one, and since when.
WITH span AS (
    SELECT service_point_id, subtype, first, coalesce(until, 'infinity') AS until
    FROM unnest(%(service_point_ids)s::bigint[], %(subtypes)s::text[], %(firsts)s::timestamptz[],
                %(ends)s::timestamptz[]) AS s (service_point_id, subtype, first, until)
), open_run AS (
    SELECT max(period_to) AS period_to FROM billing_run
    WHERE project_id = %(project_id)s AND commodity = %(commodity)s AND state <> 'succeeded'
), place AS (
    SELECT s.service_point_id AS id, NULL AS subtype, false AS own_first, false AS subtype_first, s.first, s.until
    FROM span s WHERE s.service_point_id IS NOT NULL
    UNION ALL
    SELECT p.id, p.subtype, true, s.subtype IS NULL, s.first, s.until
    FROM span s
    CROSS JOIN LATERAL (SELECT id, subtype FROM service_point
                         WHERE s.service_point_id IS NULL AND project_id = %(project_id)s
                           AND commodity = %(commodity)s AND (s.subtype IS NULL OR subtype = s.subtype)
                        OFFSET 0) AS p
), touched AS (
    SELECT c.id, min(c.first) AS since, min(b.period_from) AS billed_since
    FROM place c
    CROSS JOIN open_run r
    LEFT JOIN LATERAL (
        SELECT b.period_from FROM bill b
        WHERE b.service_point_id = c.id AND b.state <> 'void' AND b.period_to > c.first AND b.period_from < c.until
          AND NOT coalesce(
              (SELECT range_agg(tstzrange(n.valid_from, n.valid_to))
               FROM (SELECT valid_from, valid_to FROM tariff_assignment
                      WHERE c.own_first AND service_point_id = c.id
                     UNION ALL
                     SELECT valid_from, valid_to FROM tariff_assignment
                      WHERE c.subtype_first AND service_point_id IS NULL AND project_id = %(project_id)s
                        AND commodity = %(commodity)s AND subtype = c.subtype) AS n)
              @> tstzrange(greatest(b.period_from, c.first), least(b.period_to, c.until)), false)
        ORDER BY b.period_to LIMIT 1) AS b ON true
    WHERE b.period_from IS NOT NULL
       OR (c.first < r.period_to AND EXISTS (SELECT FROM meter_installation i WHERE i.service_point_id = c.id))
    GROUP BY c.id
), requested AS (
    INSERT INTO rerate_request (service_point_id, since, requested_at)
    SELECT id, since, clock_timestamp() FROM touched
    WHERE %(force)s OR billed_since IS NULL
    ORDER BY id
    ON CONFLICT (service_point_id) DO UPDATE
    SET since = least(rerate_request.since, excluded.since),
        requested_at = greatest(rerate_request.requested_at, excluded.requested_at)
)
SELECT count(billed_since) AS points, min(billed_since) AS since FROM touched
