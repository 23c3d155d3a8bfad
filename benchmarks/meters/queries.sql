-- name: add_premises
-- One premise a meter.
INSERT INTO premise (project_id, key, address)
SELECT %(project_id)s, 'P' || lpad(n::text, 8, '0'),
       ARRAY['Garden ' || n / 1000, 'Block ' || n / 100 %% 10, 'Unit ' || n / 50 %% 2, 'Floor ' || n %% 30, 'Door ' || n]
FROM generate_series(1, %(meters)s) AS n

-- name: add_service_points
-- One a premise.
INSERT INTO service_point (project_id, key, premise_id, commodity)
SELECT project_id, key, id, %(commodity)s FROM premise WHERE project_id = %(project_id)s ORDER BY id

-- name: add_meters
-- One a service point.
INSERT INTO meter (project_id, device_id, commodity)
SELECT project_id, 'M' || substr(key, 2), commodity FROM service_point WHERE project_id = %(project_id)s ORDER BY id

-- name: add_installations
-- Every meter is in place since the first boundary.
INSERT INTO meter_installation (meter_id, service_point_id, valid_from)
SELECT m.id, s.id, %(installed_at)s
FROM service_point s
JOIN meter m ON m.project_id = s.project_id AND m.device_id = 'M' || substr(s.key, 2)
WHERE s.project_id = %(project_id)s ORDER BY s.id

-- name: add_registers
-- The counters of every meter.
INSERT INTO register (meter_id, kind, unit)
SELECT m.id, k.kind, 'kWh'
FROM meter m CROSS JOIN unnest(%(kinds)s::text[]) WITH ORDINALITY AS k (kind, place)
WHERE m.project_id = %(project_id)s ORDER BY m.id, k.place

-- name: add_readings
-- What every register shows at a boundary. A meter uses 40 to 460 kWh a month, each of its registers its part.
INSERT INTO reading (register_id, installation_id, read_at, recorded_at, value, total, source, quality)
SELECT r.id, i.id, %(read_at)s, %(read_at)s, v.value, v.value, %(source)s, 'ok'
FROM register r
JOIN meter_installation i ON i.meter_id = r.meter_id
CROSS JOIN LATERAL (
    SELECT round((100 + %(month)s * (40 + (r.id * 7919) %% 420 + ((r.id * 31) %% 100) / 100.0) / %(registers)s)::numeric, 2)
           AS value) v
WHERE i.valid_from = %(installed_at)s
ORDER BY r.id

-- name: add_tariff
-- One tariff for all of the project: three tiers a month, in mode ABSOLUTE.
WITH new_tariff AS (
    INSERT INTO tariff (project_id, key, name, commodity)
    VALUES (%(project_id)s, 'home', 'Home', %(commodity)s) RETURNING id
),
new_version AS (
    INSERT INTO tariff_version (tariff_id, effective_from, frame, mode)
    SELECT id, %(installed_at)s, 'MONTH', 'ABSOLUTE' FROM new_tariff RETURNING id
),
new_tier AS (
    INSERT INTO tier (version_id, ordinal, upper_limit, price, kind_prices)
    SELECT v.id, t.ordinal, t.upper_limit, t.price,
           (SELECT jsonb_object_agg(k.kind, (t.price + k.place * 0.0731)::text)
            FROM unnest(%(tou_kinds)s::text[]) WITH ORDINALITY AS k (kind, place))
    FROM new_version v
    CROSS JOIN (VALUES (1, 180, 0.5283), (2, 350, 0.5783), (3, NULL, 0.8283)) AS t (ordinal, upper_limit, price)
),
new_price AS (
    INSERT INTO tou_price (version_id, kind, price)
    SELECT v.id, k.kind, 0.5 FROM new_version v CROSS JOIN unnest(%(tou_kinds)s::text[]) AS k (kind)
)
INSERT INTO tariff_assignment (project_id, tariff_id, commodity, valid_from)
SELECT %(project_id)s, id, %(commodity)s, %(installed_at)s FROM new_tariff

-- name: add_task
-- The billing task, on the first of the month.
WITH new_schedule AS (
    INSERT INTO schedule (kind, expression, timezone, dag_id, description, active, active_since)
    VALUES ('billing', %(expression)s, %(zone)s, 'billing.bench', 'monthly', true, %(installed_at)s) RETURNING id
),
new_definition AS (
    INSERT INTO definition (kind, schedule_id, project_id, name, enabled, active_since, misfire, misfire_grace, overlap,
                            created_at, updated_at)
    SELECT 'billing', id, %(project_id)s, 'bench', true, %(installed_at)s, 'run', '1 hour', 'queue',
           %(installed_at)s, %(installed_at)s
    FROM new_schedule RETURNING id
)
INSERT INTO billing_task (definition_id, natrual_key, commodity, crontab)
SELECT id, repeat('0', 32), %(commodity)s, '{}' FROM new_definition
RETURNING definition_id

-- name: find_task
-- The billing task.
SELECT definition_id FROM billing_task

-- name: bill_by_tiers
-- The peer: a month's bills of the whole project in one statement, by somebody who knows that every meter has one
-- register, was read at both boundaries, and that one tariff with tiers by the month holds for all.
WITH usage AS MATERIALIZED (
    SELECT nextval('bill_id') AS bill_id, s.id, s.subtype, p.address, m.id AS meter_id, m.device_id,
           r.id AS register_id, r.kind, r.unit, b.quantity AS previous_quantity, b.year_quantity,
           o.id AS opening_id, o.total AS opening, c.id AS closing_id, c.total AS closing,
           round((c.total - o.total) * r.multiplier, 6) AS quantity
    FROM service_point s
    JOIN premise p ON p.id = s.premise_id
    JOIN public.bill b ON b.service_point_id = s.id AND b.period_to = %(period_from)s AND b.state <> 'void'
    JOIN meter_installation i ON i.service_point_id = s.id AND i.valid_to = 'infinity'
    JOIN meter m ON m.id = i.meter_id
    JOIN register r ON r.meter_id = m.id
    JOIN reading o ON o.register_id = r.id AND o.read_at = %(period_from)s AND o.quality <> 'suspect'
    JOIN reading c ON c.register_id = r.id AND c.read_at = %(period_to)s AND c.quality <> 'suspect'
    WHERE s.project_id = %(project_id)s AND s.commodity = %(commodity)s
),
step AS MATERIALIZED (
    SELECT t.version_id, t.ordinal, t.price, t.upper_limit, coalesce(lag(t.upper_limit) OVER (ORDER BY t.ordinal), 0) AS lower_limit
    FROM tier t
    JOIN tariff_version v ON v.id = t.version_id
    JOIN tariff_assignment a ON a.tariff_id = v.tariff_id
    WHERE a.project_id = %(project_id)s AND a.commodity = %(commodity)s
),
line AS MATERIALIZED (
    SELECT u.bill_id, t.version_id, t.ordinal, t.price, q.quantity, round(q.quantity * t.price, 2) AS amount,
           q.quantity * t.price AS unrounded
    FROM usage u
    JOIN step t ON u.quantity > t.lower_limit
    CROSS JOIN LATERAL (SELECT least(u.quantity, t.upper_limit) - t.lower_limit AS quantity) q
),
new_bill AS (
    INSERT INTO bill (id, project_id, service_point_id, meter_id, device_id, commodity, subtype, address, state,
                      period_from, period_to, months, coverage, previous_quantity, quantity, unit, opening, closing,
                      charge, rounding_delta, year_quantity, estimates_in_a_row, flags, cutoff, input_hash,
                      engine_version, created_at)
    SELECT u.bill_id, %(project_id)s, u.id, u.meter_id, u.device_id, %(commodity)s, u.subtype, u.address, 'final',
           %(period_from)s, %(period_to)s, 1, 1, u.previous_quantity, u.quantity, u.unit, u.opening, u.closing,
           l.charge, l.charge - l.unrounded, u.year_quantity + u.quantity, 0, '{}', now(), 0, 1, now()
    FROM usage u
    JOIN (SELECT bill_id, sum(amount) AS charge, sum(unrounded) AS unrounded FROM line GROUP BY bill_id) l USING (bill_id)
),
new_quantity AS (
    INSERT INTO bill_quantity (bill_id, ordinal, register_id, kind, from_at, to_at, opening, closing, quantity,
                               opening_method, closing_method, opening_reading_id, closing_reading_id)
    SELECT bill_id, 1, register_id, kind, %(period_from)s, %(period_to)s, opening, closing, quantity, 'exact_read',
           'exact_read', opening_id, closing_id
    FROM usage
),
new_line AS (
    INSERT INTO bill_line (bill_id, ordinal, kind, label, tier, quantity, rate, amount, from_at, to_at, method,
                           tariff_version_id)
    SELECT bill_id, ordinal, 'TIER', 'TOTAL', ordinal, quantity, price, amount, %(period_from)s, %(period_to)s,
           'exact_read', version_id
    FROM line
)
SELECT (SELECT count(*) FROM usage) AS billed, (SELECT sum(amount) FROM line) AS total

-- name: bill_by_tiers_and_kinds
-- The peer, where every meter has a register for each kind of time of use, and each tier a price for each kind.
WITH counted AS MATERIALIZED (
    SELECT s.id, s.subtype, s.premise_id, i.meter_id, r.id AS register_id, r.kind, r.unit,
           array_position(%(kinds)s::text[], r.kind) AS place,
           o.id AS opening_id, o.total AS opening, c.id AS closing_id, c.total AS closing,
           round((c.total - o.total) * r.multiplier, 6) AS quantity
    FROM service_point s
    JOIN meter_installation i ON i.service_point_id = s.id AND i.valid_to = 'infinity'
    JOIN register r ON r.meter_id = i.meter_id
    JOIN reading o ON o.register_id = r.id AND o.read_at = %(period_from)s AND o.quality <> 'suspect'
    JOIN reading c ON c.register_id = r.id AND c.read_at = %(period_to)s AND c.quality <> 'suspect'
    WHERE s.project_id = %(project_id)s AND s.commodity = %(commodity)s
),
usage AS MATERIALIZED (
    SELECT nextval('bill_id') AS bill_id, k.id, k.subtype, p.address, m.id AS meter_id, m.device_id, k.unit, k.quantity,
           b.quantity AS previous_quantity, b.year_quantity
    FROM (SELECT id, subtype, premise_id, meter_id, min(unit) AS unit, sum(quantity) AS quantity
          FROM counted GROUP BY id, subtype, premise_id, meter_id) k
    JOIN premise p ON p.id = k.premise_id
    JOIN meter m ON m.id = k.meter_id
    JOIN public.bill b ON b.service_point_id = k.id AND b.period_to = %(period_from)s AND b.state <> 'void'
),
by_kind AS MATERIALIZED (
    SELECT u.bill_id, u.quantity AS whole, k.kind, k.place, k.register_id, k.opening_id, k.opening, k.closing_id, k.closing,
           k.quantity, sum(k.quantity) OVER (PARTITION BY k.id ORDER BY k.place) AS upto
    FROM usage u JOIN counted k USING (id)
),
step AS MATERIALIZED (
    SELECT t.version_id, t.ordinal, t.upper_limit, p.kind, p.price::numeric AS price,
           coalesce(lag(t.upper_limit) OVER (PARTITION BY p.kind ORDER BY t.ordinal), 0) AS lower_limit
    FROM tier t
    CROSS JOIN LATERAL jsonb_each_text(t.kind_prices) AS p (kind, price)
    JOIN tariff_version v ON v.id = t.version_id
    JOIN tariff_assignment a ON a.tariff_id = v.tariff_id
    WHERE a.project_id = %(project_id)s AND a.commodity = %(commodity)s
),
line AS MATERIALIZED (
    SELECT k.bill_id, t.version_id, t.ordinal, k.place, k.kind, t.price, q.quantity, round(q.quantity * t.price, 2) AS amount,
           q.quantity * t.price AS unrounded
    FROM by_kind k
    JOIN step t ON t.kind = k.kind AND k.whole > t.lower_limit
    CROSS JOIN LATERAL (SELECT least(k.whole, t.upper_limit) - t.lower_limit AS quantity) w
    CROSS JOIN LATERAL (
        SELECT round(w.quantity * k.upto / k.whole, 6) - round(w.quantity * (k.upto - k.quantity) / k.whole, 6) AS quantity) q
    WHERE q.quantity <> 0
),
new_bill AS (
    INSERT INTO bill (id, project_id, service_point_id, meter_id, device_id, commodity, subtype, address, state,
                      period_from, period_to, months, coverage, previous_quantity, quantity, unit,
                      charge, rounding_delta, year_quantity, estimates_in_a_row, flags, cutoff, input_hash,
                      engine_version, created_at)
    SELECT u.bill_id, %(project_id)s, u.id, u.meter_id, u.device_id, %(commodity)s, u.subtype, u.address, 'final',
           %(period_from)s, %(period_to)s, 1, 1, u.previous_quantity, u.quantity, u.unit,
           l.charge, l.charge - l.unrounded, u.year_quantity + u.quantity, 0, '{}', now(), 0, 1, now()
    FROM usage u
    JOIN (SELECT bill_id, sum(amount) AS charge, sum(unrounded) AS unrounded FROM line GROUP BY bill_id) l USING (bill_id)
),
new_quantity AS (
    INSERT INTO bill_quantity (bill_id, ordinal, register_id, kind, from_at, to_at, opening, closing, quantity,
                               opening_method, closing_method, opening_reading_id, closing_reading_id)
    SELECT bill_id, row_number() OVER (PARTITION BY bill_id ORDER BY place), register_id, kind, %(period_from)s,
           %(period_to)s, opening, closing, quantity, 'exact_read', 'exact_read', opening_id, closing_id
    FROM by_kind
),
new_line AS (
    INSERT INTO bill_line (bill_id, ordinal, kind, label, tier, quantity, rate, amount, from_at, to_at, method,
                           tariff_version_id)
    SELECT bill_id, row_number() OVER (PARTITION BY bill_id ORDER BY ordinal, place), 'TIER', kind, ordinal, quantity, price,
           amount, %(period_from)s, %(period_to)s, 'exact_read', version_id
    FROM line
)
SELECT (SELECT count(*) FROM usage) AS billed, (SELECT sum(amount) FROM line) AS total

-- name: add_bare_tables
-- The same columns without constraints, indexes and triggers.
CREATE SCHEMA bare;
CREATE TABLE bare.bill (LIKE public.bill INCLUDING DEFAULTS);
CREATE TABLE bare.bill_quantity (LIKE public.bill_quantity INCLUDING DEFAULTS);
CREATE TABLE bare.bill_line (LIKE public.bill_line INCLUDING DEFAULTS)

-- name: list_before
-- For the loop: service points, and their last bills.
SELECT s.id, s.subtype, p.address, b.period_to, b.quantity, b.year_quantity, b.estimates_in_a_row
FROM service_point s
JOIN premise p ON p.id = s.premise_id
JOIN bill b ON b.service_point_id = s.id AND b.period_to = %(period_from)s AND b.state <> 'void'
WHERE s.project_id = %(project_id)s AND s.commodity = %(commodity)s
ORDER BY s.id

-- name: add_bill
-- For the loop: one bill.
INSERT INTO bill (id, project_id, service_point_id, meter_id, device_id, commodity, subtype, address, state,
                  period_from, period_to, months, coverage, previous_quantity, quantity, unit, opening, closing, charge,
                  rounding_delta, year_quantity, estimates_in_a_row, flags, cutoff, input_hash, engine_version, created_at)
VALUES (%(id)s, %(project_id)s, %(service_point_id)s, %(meter_id)s, %(device_id)s, %(commodity)s, %(subtype)s,
        %(address)s, 'final', %(period_from)s, %(period_to)s, %(months)s, %(coverage)s, %(previous_quantity)s,
        %(quantity)s, %(unit)s, %(opening)s, %(closing)s, %(charge)s, %(rounding_delta)s, %(year_quantity)s,
        %(estimates_in_a_row)s, %(flags)s, now(), 0, 1, now())

-- name: add_quantity
-- For the loop: one row of what was read.
INSERT INTO bill_quantity (bill_id, ordinal, register_id, kind, from_at, to_at, opening, closing, quantity,
                           opening_method, closing_method, opening_reading_id, closing_reading_id)
VALUES (%(bill_id)s, %(ordinal)s, %(register_id)s, %(kind)s, %(start)s, %(end)s, %(opening)s, %(closing)s, %(quantity)s,
        %(opening_method)s, %(closing_method)s, %(opening_reading_id)s, %(closing_reading_id)s)

-- name: add_line
-- For the loop: one line.
INSERT INTO bill_line (bill_id, ordinal, kind, label, tier, quantity, rate, amount, included, from_at, to_at, method,
                       tariff_version_id)
VALUES (%(bill_id)s, %(ordinal)s, %(kind)s, %(label)s, %(tier)s, %(quantity)s, %(rate)s, %(amount)s, %(included)s,
        %(start)s, %(end)s, %(method)s, %(tariff_version_id)s)

-- name: reserve_bills
-- For the loop: ids of bills.
SELECT nextval('bill_id') AS id FROM generate_series(1, %(count)s)

-- name: digest_bills
-- What the bills that end at a moment say, so that those of two contenders can be compared to the last digit. What
-- says who made a bill and when (ids, run, cutoff, hash) does not count.
WITH made AS MATERIALIZED (SELECT * FROM bill WHERE period_to = %(period_to)s AND state <> 'void')
SELECT (SELECT count(*) FROM made) AS bills,
       (SELECT coalesce(sum(charge), 0) FROM made) AS charge,
       (SELECT bit_xor(hashtextextended(concat_ws('|', service_point_id, meter_id, device_id, commodity, subtype, address, state,
                   period_from, period_to, months, coverage, previous_quantity, quantity, unit, opening, closing, charge,
                   rounding_delta, year_quantity, estimates_in_a_row, flags), 0)) FROM made) AS bill_hash,
       (SELECT count(*) FROM bill_line l JOIN made b ON b.id = l.bill_id) AS lines,
       (SELECT bit_xor(hashtextextended(concat_ws('|', b.service_point_id, l.ordinal, l.kind, l.label, l.tier, l.quantity, l.rate,
                   l.amount, l.included, l.from_at, l.to_at, l.method, l.tariff_version_id), 0))
        FROM bill_line l JOIN made b ON b.id = l.bill_id) AS line_hash,
       (SELECT count(*) FROM bill_quantity q JOIN made b ON b.id = q.bill_id) AS quantities,
       (SELECT bit_xor(hashtextextended(concat_ws('|', b.service_point_id, q.ordinal, q.register_id, q.kind, q.from_at, q.to_at,
                   q.opening, q.closing, q.quantity, q.opening_method, q.closing_method, q.opening_reading_id,
                   q.closing_reading_id), 0))
        FROM bill_quantity q JOIN made b ON b.id = q.bill_id) AS quantity_hash
