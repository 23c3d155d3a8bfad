-- name: price_chunk
-- Bill every service point of a range of ids up to `period_to`, in one statement: measure, price, write. The
-- same arithmetic as `measurement.py` and `formula.py`, see docs/billing.md. What cannot be billed gets an
-- exception. Units whose beginning is not among `starts` are left alone and reported, so that months and
-- coverage, which need the calendar and the crontab, are worked out in one place only.
WITH factor AS (
    SELECT * FROM unnest(%(starts)s::timestamptz[], %(months)s::numeric[], %(coverages)s::numeric[])
        AS f (period_from, months, coverage)
),
-- Service points and where their next bill begins.
found AS MATERIALIZED (
    SELECT sp.id, sp.subtype, sp.premise_id, c.daily_quantity,
           p.period_to AS prev_to, coalesce(p.quantity, 0) AS prev_quantity,
           coalesce(p.estimates_in_a_row, 0) AS prev_estimates,
           coalesce(%(only_from)s::timestamptz, p.period_to, i.first_from) AS period_from
    FROM service_point sp
    LEFT JOIN usage_class c ON c.id = sp.usage_class_id
    LEFT JOIN LATERAL (
        SELECT b.period_to, b.quantity, b.estimates_in_a_row FROM bill b
        WHERE b.service_point_id = sp.id AND b.state <> 'void'
          AND b.period_to <= coalesce(%(only_from)s::timestamptz, 'infinity')
        ORDER BY b.period_to DESC LIMIT 1) p ON true
    LEFT JOIN LATERAL (
        SELECT min(valid_from) AS first_from FROM meter_installation WHERE service_point_id = sp.id
    ) i ON p.period_to IS NULL
    WHERE sp.project_id = %(project_id)s AND sp.commodity = %(commodity)s
      AND sp.id BETWEEN %(low)s AND %(high)s
      AND (%(only_ids)s::bigint[] IS NULL OR sp.id = ANY(%(only_ids)s::bigint[]))
      AND sp.id <> ALL(%(skip_ids)s::bigint[])
),
placed AS MATERIALIZED (
    SELECT f.id, i.id AS installation_id, i.meter_id, i.valid_from, i.valid_to,
           greatest(i.valid_from, f.period_from) AS from_at, least(i.valid_to, %(period_to)s) AS to_at
    FROM found f
    JOIN meter_installation i ON i.service_point_id = f.id
     AND i.service_point_id BETWEEN %(low)s AND %(high)s
     AND i.valid_from < %(period_to)s AND i.valid_to > f.period_from
    WHERE f.period_from < %(period_to)s
),
installed AS MATERIALIZED (
    SELECT id, sum(extract(epoch FROM to_at - from_at)) AS seconds, count(*) AS meters, min(from_at) AS first_from,
           max(from_at) AS last_from, max(to_at) AS last_to
    FROM placed GROUP BY id
),
-- When a meter is there; meters that follow each other at once are one stretch.
served AS MATERIALIZED (
    SELECT p.id, p.from_at, p.to_at FROM placed p JOIN installed i USING (id) WHERE i.meters = 1
    UNION ALL
    SELECT id, min(from_at), max(to_at)
    FROM (SELECT *, count(*) FILTER (WHERE begins) OVER (PARTITION BY id ORDER BY from_at) AS island
          FROM (SELECT p.*, p.from_at IS DISTINCT FROM lag(p.to_at) OVER (PARTITION BY p.id ORDER BY p.from_at) AS begins
                FROM placed p JOIN installed i USING (id) WHERE i.meters > 1) p) p
    GROUP BY id, island
),
-- Tariffs: what is in force when, for a service point of its own or for a subtype.
assigned AS MATERIALIZED (
    SELECT a.service_point_id AS own_id, a.subtype, a.tariff_id, a.valid_from, a.valid_to
    FROM tariff_assignment a
    WHERE a.project_id = %(project_id)s AND a.commodity = %(commodity)s AND a.valid_from < %(period_to)s
      AND (a.service_point_id IS NULL OR a.service_point_id BETWEEN %(low)s AND %(high)s)
),
subtypes AS MATERIALIZED (
    SELECT DISTINCT subtype FROM assigned WHERE own_id IS NULL AND subtype IS NOT NULL
),
-- Of a subtype ('' is any other): its own assignments, and between them those for all.
shared AS MATERIALIZED (
    SELECT a.subtype, a.tariff_id, a.valid_from, a.valid_to
    FROM assigned a WHERE a.own_id IS NULL AND a.subtype IS NOT NULL
    UNION ALL
    SELECT g.subtype, a.tariff_id, greatest(a.valid_from, g.valid_from), least(a.valid_to, g.valid_to)
    FROM assigned a
    JOIN (SELECT '' AS subtype, '-infinity'::timestamptz AS valid_from, 'infinity'::timestamptz AS valid_to
          UNION ALL
          SELECT subtype, coalesce(lag(valid_to) OVER s, '-infinity'), valid_from
          FROM assigned WHERE own_id IS NULL AND subtype IS NOT NULL
          WINDOW s AS (PARTITION BY subtype ORDER BY valid_from)
          UNION ALL
          SELECT subtype, max(valid_to), 'infinity'
          FROM assigned WHERE own_id IS NULL AND subtype IS NOT NULL GROUP BY subtype) g
      ON greatest(a.valid_from, g.valid_from) < least(a.valid_to, g.valid_to)
    WHERE a.own_id IS NULL AND a.subtype IS NULL
),
own AS MATERIALIZED (
    SELECT own_id AS id, max(valid_to) AS last_to FROM assigned WHERE own_id IS NOT NULL GROUP BY own_id
),
-- Of a service point with assignments of its own: those, and between them what its subtype has.
held AS MATERIALIZED (
    SELECT 0::bigint AS own_id, subtype, tariff_id, valid_from, valid_to FROM shared
    UNION ALL
    SELECT own_id, '', tariff_id, valid_from, valid_to FROM assigned WHERE own_id IS NOT NULL
    UNION ALL
    SELECT g.own_id, '', s.tariff_id, greatest(s.valid_from, g.valid_from), least(s.valid_to, g.valid_to)
    FROM (SELECT own_id, coalesce(lag(valid_to) OVER o, '-infinity') AS valid_from, valid_from AS valid_to
          FROM assigned WHERE own_id IS NOT NULL
          WINDOW o AS (PARTITION BY own_id ORDER BY valid_from)
          UNION ALL
          SELECT id, last_to, 'infinity' FROM own) g
    JOIN found f ON f.id = g.own_id
    LEFT JOIN subtypes t ON t.subtype = f.subtype
    JOIN shared s ON s.subtype = coalesce(t.subtype, '')
     AND greatest(s.valid_from, g.valid_from) < least(s.valid_to, g.valid_to)
),
in_force AS MATERIALIZED (
    SELECT v.*, f.own_id, f.subtype, f.valid_from, f.valid_to,
           (SELECT array_agg(kind) FROM tou_price p WHERE p.version_id = v.id) AS tou_kinds,
           EXISTS (SELECT FROM tier t WHERE t.version_id = v.id AND t.persons_step <> 0) AS counts_persons
    FROM (
        -- Spans of one version that touch are one.
        SELECT own_id, subtype, version_id, min(valid_from) AS valid_from, max(valid_to) AS valid_to
        FROM (SELECT *, count(*) FILTER (WHERE begins) OVER (PARTITION BY own_id, subtype, version_id ORDER BY valid_from)
                        AS island
              FROM (SELECT h.own_id, h.subtype, v.id AS version_id, s.valid_from, s.valid_to,
                           s.valid_from IS DISTINCT FROM lag(s.valid_to) OVER (
                               PARTITION BY h.own_id, h.subtype, v.id ORDER BY s.valid_from) AS begins
                    FROM held h
                    JOIN (SELECT id, tariff_id, effective_from,
                                 lead(effective_from, 1, 'infinity') OVER (PARTITION BY tariff_id ORDER BY effective_from)
                                     AS until
                          FROM tariff_version WHERE recorded_at <= %(cutoff)s) v ON v.tariff_id = h.tariff_id
                    CROSS JOIN LATERAL (SELECT greatest(h.valid_from, v.effective_from) AS valid_from,
                                               least(h.valid_to, v.until) AS valid_to) s
                    WHERE v.effective_from < %(period_to)s AND s.valid_from < s.valid_to) h) h
        GROUP BY own_id, subtype, version_id, island) f
    JOIN tariff_version v ON v.id = f.version_id
),
unit AS MATERIALIZED (
    SELECT f.*, i.meters, i.seconds, i.first_from, i.last_from, i.last_to, factor.months, factor.coverage,
           extract(epoch FROM %(period_to)s - f.period_from) AS length,
           coalesce(own.id, 0) AS own_id,
           CASE WHEN own.id IS NULL AND s.subtype IS NOT NULL THEN f.subtype ELSE '' END AS scope_subtype
    FROM found f
    JOIN installed i USING (id)
    JOIN factor ON factor.period_from = f.period_from
    LEFT JOIN own ON own.id = f.id
    LEFT JOIN subtypes s ON s.subtype = f.subtype
),
year AS MATERIALIZED (
    SELECT y::timestamp AT TIME ZONE %(zone)s AS valid_from,
           (y + interval '1 year')::timestamp AT TIME ZONE %(zone)s AS valid_to
    FROM generate_series(
        date_trunc('year', (SELECT min(period_from) FROM unit) AT TIME ZONE %(zone)s),
        date_trunc('year', %(period_to)s::timestamptz AT TIME ZONE %(zone)s), '1 year') AS y
),
-- Households by what a version looks at: the generation, the number of persons, or both. Before the first
-- occupants there is a stretch without any.
occupied AS MATERIALIZED (
    SELECT service_point_id, valid_from, valid_to, persons, since FROM household
    WHERE service_point_id BETWEEN %(low)s AND %(high)s
    UNION ALL
    SELECT service_point_id, '-infinity', min(valid_from), 0, '-infinity' FROM household
    WHERE service_point_id BETWEEN %(low)s AND %(high)s
    GROUP BY service_point_id
),
home AS MATERIALIZED (
    SELECT service_point_id, true AS resets, false AS counts, min(valid_from) AS valid_from,
           max(valid_to) AS valid_to, 0 AS persons, since
    FROM occupied GROUP BY service_point_id, since
    UNION ALL
    SELECT service_point_id, true, true, valid_from, valid_to, persons, since
    FROM occupied WHERE EXISTS (SELECT FROM in_force WHERE counts_persons)
    UNION ALL
    SELECT service_point_id, false, true, min(valid_from), max(valid_to), persons, '-infinity'
    FROM (SELECT *, row_number() OVER (PARTITION BY service_point_id ORDER BY valid_from)
                  - row_number() OVER (PARTITION BY service_point_id, persons ORDER BY valid_from) AS island
          FROM occupied
          WHERE EXISTS (SELECT FROM in_force WHERE counts_persons)) h
    GROUP BY service_point_id, persons, island
),
segment AS MATERIALIZED (
    SELECT u.id, v.id AS version_id, v.frame, v.mode, v.energy_price, v.persons_base, v.minimum_charge,
           v.tou_kinds, v.counts_persons, u.daily_quantity,
           s.from_at, s.to_at, coalesce(h.persons, 0) AS persons,
           greatest(y.valid_from, CASE WHEN v.on_occupant_change = 'RESET' THEN h.since END) AS scope_from,
           y.valid_to AS year_to,
           CASE WHEN s.whole THEN u.months
                ELSE round(u.months * extract(epoch FROM s.to_at - s.from_at) / u.length, 10) END AS months,
           CASE WHEN s.whole THEN u.coverage
                ELSE round(u.coverage * extract(epoch FROM s.to_at - s.from_at) / u.length, 10) END AS coverage,
           CASE WHEN s.whole THEN 1
                ELSE round(extract(epoch FROM s.to_at - s.from_at) / u.length, 10) END AS portion,
           row_number() OVER (PARTITION BY u.id ORDER BY s.from_at) - 1 AS seg, s.from_at = max(s.from_at) OVER (PARTITION BY u.id) AS last
    FROM unit u
    JOIN in_force v ON v.own_id = u.own_id AND v.subtype = u.scope_subtype
     AND v.valid_from < %(period_to)s AND v.valid_to > u.period_from
    JOIN served d ON d.id = u.id AND d.from_at < v.valid_to AND d.to_at > v.valid_from
    JOIN year y ON y.valid_from < least(d.to_at, v.valid_to)
               AND y.valid_to > greatest(d.from_at, v.valid_from)
    LEFT JOIN home h ON h.service_point_id = u.id
     AND h.resets = (v.on_occupant_change = 'RESET') AND h.counts = v.counts_persons
     AND h.valid_from < least(d.to_at, v.valid_to, y.valid_to)
     AND h.valid_to > greatest(d.from_at, v.valid_from, y.valid_from)
    CROSS JOIN LATERAL (
        SELECT greatest(d.from_at, v.valid_from, y.valid_from, h.valid_from) AS from_at,
               least(d.to_at, v.valid_to, y.valid_to, h.valid_to) AS to_at,
               greatest(d.from_at, v.valid_from, y.valid_from, h.valid_from) = u.period_from
               AND least(d.to_at, v.valid_to, y.valid_to, h.valid_to) = %(period_to)s AS whole) s
    WHERE s.from_at < s.to_at
),
-- Stretches with one meter and one segment, and the registers that count there: those of the version's kinds
-- where the meter has all of them, else TOTAL, split over the windows; without time of use TOTAL or else all.
stretch AS MATERIALIZED (
    SELECT s.id, s.seg, s.version_id, s.tou_kinds, s.daily_quantity, p.installation_id, p.meter_id,
           greatest(s.from_at, p.from_at) AS from_at, least(s.to_at, p.to_at) AS to_at
    FROM segment s JOIN placed p ON p.id = s.id AND p.from_at < s.to_at AND p.to_at > s.from_at
),
counted AS MATERIALIZED (
    SELECT s.*, r.id AS register_id, r.kind, r.unit, r.multiplier, r.modulus, coalesce(k.split, false) AS split,
           k.registers
    FROM stretch s
    LEFT JOIN LATERAL (
        SELECT s.tou_kinds IS NOT NULL AND count(*) FILTER (WHERE o.kind = ANY(s.tou_kinds)) < cardinality(s.tou_kinds)
                   AS split,
               CASE WHEN s.tou_kinds IS NOT NULL
                         AND count(*) FILTER (WHERE o.kind = ANY(s.tou_kinds)) = cardinality(s.tou_kinds)
                    THEN s.tou_kinds
                    WHEN bool_or(o.kind = 'TOTAL') THEN ARRAY['TOTAL']
                    WHEN s.tou_kinds IS NULL THEN array_agg(o.kind) END AS kinds,
               CASE WHEN s.tou_kinds IS NOT NULL
                         AND count(*) FILTER (WHERE o.kind = ANY(s.tou_kinds)) = cardinality(s.tou_kinds)
                    THEN cardinality(s.tou_kinds)
                    WHEN bool_or(o.kind = 'TOTAL') THEN 1 ELSE count(*) END AS registers
        FROM register o WHERE o.meter_id = s.meter_id) k ON true
    LEFT JOIN LATERAL (
        SELECT * FROM register r WHERE r.meter_id = s.meter_id AND r.kind = ANY(k.kinds) OFFSET 0) r ON true
),
-- The counter at each end of each stretch: as read there, or else between two readings, or else estimated.
reached AS MATERIALIZED (
    SELECT c.*, o.id AS opening_reading_id, o.read_at AS opening_read_at, o.total AS opening_total,
           e.id AS closing_reading_id, e.read_at AS closing_read_at, e.total AS closing_total,
           coalesce(o.read_at >= c.from_at - %(tolerance)s::interval, false) AS opening_exact,
           coalesce(e.read_at >= c.to_at - %(tolerance)s::interval, false) AS closing_exact
    FROM counted c
    LEFT JOIN LATERAL (
        SELECT r.id, r.read_at, r.total FROM good_readings(c.register_id, c.installation_id, %(cutoff)s) r
        WHERE r.read_at <= c.from_at ORDER BY r.read_at DESC, r.id DESC LIMIT 1) o ON true
    LEFT JOIN LATERAL (
        SELECT r.id, r.read_at, r.total FROM good_readings(c.register_id, c.installation_id, %(cutoff)s) r
        WHERE r.read_at <= c.to_at ORDER BY r.read_at DESC, r.id DESC LIMIT 1) e ON true
),
gap AS MATERIALIZED (
    SELECT DISTINCT ON (c.installation_id, c.register_id, g.at)
           c.installation_id, c.register_id, g.at, g.read_at, g.total, c.multiplier, c.registers, c.daily_quantity
    FROM reached c
    CROSS JOIN LATERAL (VALUES (c.from_at, c.opening_read_at, c.opening_total, c.opening_exact),
                               (c.to_at, c.closing_read_at, c.closing_total, c.closing_exact)) AS g (at, read_at, total, exact)
    WHERE NOT (c.opening_exact AND c.closing_exact) AND NOT g.exact AND g.read_at IS NOT NULL
    ORDER BY c.installation_id, c.register_id, g.at
),
bridge AS MATERIALIZED (
    SELECT g.installation_id, g.register_id, g.at,
           CASE WHEN after.id IS NOT NULL THEN g.total + round(
                    (after.total - g.total) * extract(epoch FROM g.at - g.read_at)
                    / extract(epoch FROM after.read_at - g.read_at), 6)
                ELSE g.total + coalesce(last_year.usage, average.usage, profile.usage) END AS total,
           CASE WHEN after.read_at - g.read_at <= interval '1 day' THEN 'interval'
                WHEN after.id IS NOT NULL THEN 'day_weighted'
                WHEN last_year.usage IS NOT NULL THEN 'estimated_last_year'
                WHEN average.usage IS NOT NULL THEN 'estimated_average'
                WHEN profile.usage IS NOT NULL THEN 'estimated_profile' END AS method
    FROM gap g
    LEFT JOIN LATERAL (
        SELECT r.id, r.read_at, r.total FROM good_readings(g.register_id, g.installation_id, %(cutoff)s) r
        WHERE r.read_at > g.at
        ORDER BY r.read_at, r.id DESC LIMIT 1) after ON true
    LEFT JOIN LATERAL (
        SELECT max(k.total) - min(k.total) AS usage
        FROM (VALUES (g.read_at - interval '8760 hours'), (g.at - interval '8760 hours')) AS y (at)
        CROSS JOIN LATERAL (
            SELECT r.read_at, r.total FROM good_readings(g.register_id, g.installation_id, %(cutoff)s) r
            WHERE r.read_at <= y.at ORDER BY r.read_at DESC, r.id DESC LIMIT 1) a
        CROSS JOIN LATERAL (
            SELECT r.read_at, r.total FROM good_readings(g.register_id, g.installation_id, %(cutoff)s) r
            WHERE r.read_at >= y.at ORDER BY r.read_at, r.id DESC LIMIT 1) b
        CROSS JOIN LATERAL (
            SELECT CASE WHEN a.read_at = b.read_at THEN a.total
                        ELSE a.total + round((b.total - a.total) * extract(epoch FROM y.at - a.read_at)
                                             / extract(epoch FROM b.read_at - a.read_at), 6) END AS total) k
        WHERE after.id IS NULL
        HAVING count(*) = 2) last_year ON true
    LEFT JOIN LATERAL (
        SELECT round((g.total - r.total) * extract(epoch FROM g.at - g.read_at)
                     / extract(epoch FROM g.read_at - r.read_at), 6) AS usage
        FROM (SELECT r.read_at, r.total FROM good_readings(g.register_id, g.installation_id, %(cutoff)s) r
              WHERE after.id IS NULL AND last_year.usage IS NULL
                AND r.read_at >= g.read_at - interval '2160 hours' AND r.read_at <= g.read_at
              ORDER BY r.read_at, r.id DESC LIMIT 1) r
        WHERE g.read_at - r.read_at >= interval '1 day') average ON true
    CROSS JOIN LATERAL (
        SELECT round(g.daily_quantity * extract(epoch FROM g.at - g.read_at) / (86400 * g.multiplier * g.registers), 6)
               AS usage) profile
),
measured AS MATERIALIZED (
    SELECT id, seg, version_id, installation_id, register_id, kind, unit, multiplier, modulus, split, from_at, to_at,
           opening, closing, opening_method, closing_method, opening_reading_id, closing_reading_id,
           greatest(0, round((closing - opening) * multiplier, 6)) AS quantity,
           CASE WHEN opening_exact AND closing_exact THEN 1
                ELSE greatest(array_position(%(methods)s::text[], opening_method),
                              array_position(%(methods)s::text[], closing_method)) END AS method
    FROM (SELECT c.*, CASE WHEN c.opening_exact THEN c.opening_total ELSE a.total END AS opening,
                 CASE WHEN c.closing_exact THEN c.closing_total ELSE b.total END AS closing,
                 CASE WHEN c.opening_exact THEN 'exact_read' ELSE a.method END AS opening_method,
                 CASE WHEN c.closing_exact THEN 'exact_read' ELSE b.method END AS closing_method
          FROM reached c
          LEFT JOIN bridge a ON NOT c.opening_exact
                AND a.installation_id = c.installation_id AND a.register_id = c.register_id AND a.at = c.from_at
          LEFT JOIN bridge b ON NOT c.closing_exact
                AND b.installation_id = c.installation_id AND b.register_id = c.register_id AND b.at = c.to_at) m
),
-- TOTAL over the windows of a version: usage between two points is spread evenly over real time.
local_day AS MATERIALIZED (
    SELECT d::date AS day, extract(month FROM d) * 100 + extract(day FROM d) AS monthday, extract(isodow FROM d) > 5 AS weekend
    FROM generate_series(
        date_trunc('day', (SELECT min(from_at) FROM measured WHERE split) AT TIME ZONE %(zone)s) - interval '1 day',
        date_trunc('day', (SELECT max(to_at) FROM measured WHERE split) AT TIME ZONE %(zone)s), '1 day') AS d
),
tou_span AS MATERIALIZED (
    SELECT w.version_id, w.kind,
           (d.day + make_interval(mins => w.start_minute)) AT TIME ZONE %(zone)s AS from_at,
           (d.day + make_interval(mins => w.end_minute)) AT TIME ZONE %(zone)s AS to_at
    FROM local_day d
    CROSS JOIN tou_window w
    JOIN tariff_version v ON v.id = w.version_id
    CROSS JOIN LATERAL (
        SELECT d.day = ANY(v.holidays) OR (v.weekend_is_holiday AND d.weekend) AS holiday) t
    WHERE w.version_id IN (SELECT version_id FROM measured WHERE split)
      AND CASE WHEN w.season_from <= w.season_to THEN d.monthday BETWEEN w.season_from AND w.season_to
               ELSE d.monthday >= w.season_from OR d.monthday <= w.season_to END
      AND (w.day_type = 'any' OR (w.day_type = 'holiday') = t.holiday)
),
piece AS (
    SELECT p.*, lead(p.at) OVER s AS until, lead(p.total) OVER s - p.total AS used
    FROM (
        SELECT m.id, m.seg, m.register_id, m.installation_id, m.version_id, m.multiplier, m.from_at, v.at, v.total
        FROM measured m CROSS JOIN LATERAL (VALUES (m.from_at, m.opening), (m.to_at, m.closing)) AS v (at, total)
        WHERE m.split
        UNION ALL
        SELECT m.id, m.seg, m.register_id, m.installation_id, m.version_id, m.multiplier, m.from_at, r.read_at, r.total
        FROM measured m
        CROSS JOIN LATERAL (
            SELECT DISTINCT ON (g.read_at) g.read_at, g.total
            FROM good_readings(m.register_id, m.installation_id, %(cutoff)s) g
            WHERE g.read_at > m.from_at AND g.read_at < m.to_at
            ORDER BY g.read_at, g.id DESC) r
        WHERE m.split) p
    WINDOW s AS (PARTITION BY p.id, p.seg, p.register_id, p.installation_id ORDER BY p.at)
),
by_window AS (
    SELECT p.id, p.seg, p.register_id, p.installation_id, t.kind,
           -- Parts that are not finite decimals may add up to one that lies half way: 15 decimals restore it.
           round(round(sum(p.used * p.multiplier * 1.000000000000000000000000
                           * extract(epoch FROM least(p.until, t.to_at) - greatest(p.at, t.from_at))
                           / extract(epoch FROM p.until - p.at)), 15), 6) AS quantity
    FROM piece p
    JOIN tou_span t ON t.version_id = p.version_id AND t.from_at < p.until AND t.to_at > p.at
    WHERE p.until IS NOT NULL
    GROUP BY p.id, p.seg, p.register_id, p.installation_id, t.kind
),
coarse AS (
    SELECT id, seg, register_id, installation_id, max(until - at) > interval '1 hour' AS coarse
    FROM piece GROUP BY id, seg, register_id, installation_id
),
quantity AS MATERIALIZED (
    SELECT id, seg, installation_id, register_id, kind, from_at, to_at, opening, closing, opening_method, closing_method,
           opening_reading_id, closing_reading_id, quantity, method
    FROM measured WHERE NOT split AND quantity IS NOT NULL
    UNION ALL
    SELECT m.id, m.seg, m.installation_id, m.register_id, w.kind, m.from_at, m.to_at, m.opening, m.closing,
           m.opening_method, m.closing_method, m.opening_reading_id, m.closing_reading_id,
           w.quantity + CASE WHEN row_number() OVER (s ORDER BY w.quantity DESC, array_position(%(kinds)s::text[], w.kind)) = 1
                             THEN m.quantity - sum(w.quantity) OVER s ELSE 0 END,
           greatest(m.method, array_position(%(methods)s::text[], CASE WHEN c.coarse THEN 'profile_split' ELSE 'interval' END))
    FROM measured m
    JOIN by_window w USING (id, seg, register_id, installation_id)
    JOIN coarse c USING (id, seg, register_id, installation_id)
    WHERE m.split
    WINDOW s AS (PARTITION BY m.id, m.seg, m.register_id, m.installation_id)
),
-- What can be billed, and why the rest cannot.
verdict AS MATERIALIZED (
    SELECT u.*, m.estimated, m.rolled_over, m.unit, m.opening, m.closing, m.reading_hash, coalesce(c.coarse, false) AS profile_split,
           CASE WHEN coalesce(s.covered, 0) < u.seconds THEN 'no_tariff'
                WHEN m.unknown THEN 'no_reading'
                WHEN m.estimated AND u.prev_estimates >= %(estimates_in_a_row)s THEN 'too_many_estimates' END AS parked
    FROM unit u
    LEFT JOIN (SELECT id, sum(extract(epoch FROM to_at - from_at)) AS covered FROM stretch GROUP BY id) s USING (id)
    LEFT JOIN (
        -- A display is shown where TOTAL is what is measured at that end of the last meter's time.
        SELECT m.id, bool_or(m.opening IS NULL OR m.closing IS NULL) AS unknown,
               coalesce(bool_or(m.to_at = %(period_to)s AND m.closing_method LIKE 'estimated%%'), false) AS estimated,
               coalesce(bool_or(floor(m.opening / m.modulus) <> floor(m.closing / m.modulus)), false) AS rolled_over,
               substr(min(array_position(%(kinds)s::text[], m.kind) || m.unit) FILTER (WHERE m.from_at = i.first_from), 2)
                   AS unit,
               max(CASE WHEN m.modulus IS NULL THEN m.opening ELSE mod(m.opening, m.modulus) END)
                   FILTER (WHERE m.kind = 'TOTAL' AND m.from_at = i.last_from) AS opening,
               max(CASE WHEN m.modulus IS NULL THEN m.closing ELSE mod(m.closing, m.modulus) END)
                   FILTER (WHERE m.kind = 'TOTAL' AND m.to_at = i.last_to) AS closing,
               bit_xor(hashtextextended(concat_ws(':', m.register_id, m.opening_reading_id, m.opening,
                                                  m.closing_reading_id, m.closing), 0)) AS reading_hash
        FROM measured m JOIN installed i USING (id) GROUP BY m.id) m USING (id)
    LEFT JOIN (SELECT id, bool_or(coarse) AS coarse FROM coarse GROUP BY id) c USING (id)
),
counted_corrections AS MATERIALIZED (
    SELECT a.service_point_id, a.quantity, b.period_to,
           (SELECT max(i.from_at) FROM bill_quantity i WHERE i.bill_id = b.id) AS at
    FROM adjustment a
    CROSS JOIN LATERAL (SELECT * FROM bill WHERE id = a.corrects_bill_id AND state <> 'void' OFFSET 0) b
    WHERE a.service_point_id BETWEEN %(low)s AND %(high)s AND a.quantity <> 0
      AND EXISTS (SELECT FROM segment s WHERE s.id = a.service_point_id AND s.frame = 'YEAR')
),
pending AS MATERIALIZED (
    SELECT a.id, a.service_point_id, a.corrects_bill_id, a.kind, a.quantity, a.open_amount,
           b.period_from AS from_at, b.period_to AS to_at
    FROM adjustment a
    CROSS JOIN LATERAL (SELECT * FROM bill WHERE id = a.corrects_bill_id OFFSET 0) b
    WHERE a.service_point_id BETWEEN %(low)s AND %(high)s
      AND a.open_amount <> 0
      AND a.service_point_id IN (SELECT id FROM verdict WHERE parked IS NULL)
),
used AS MATERIALIZED (
    SELECT id, seg, sum(quantity) AS quantity, max(method) AS method FROM quantity GROUP BY id, seg
),
-- Segments with what they use, what their limits are multiplied by, and what the year counted before.
rated AS MATERIALIZED (
    SELECT s.*, coalesce(q.quantity, 0) AS quantity, coalesce(q.method, 1) AS method,
           CASE s.frame WHEN 'MONTH' THEN s.months WHEN 'PERIOD' THEN s.portion
                        ELSE round((13 - extract(month FROM s.scope_from AT TIME ZONE %(zone)s)) / 12::numeric, 10) END AS factor,
           CASE WHEN NOT s.counts_persons THEN 0
                WHEN s.frame <> 'YEAR' THEN greatest(0, s.persons - s.persons_base) * s.months
                ELSE (SELECT sum(greatest(0, CASE WHEN m.at AT TIME ZONE %(zone)s > s.from_at THEN s.persons
                                                  ELSE coalesce(h.persons, 0) END - s.persons_base))
                      FROM generate_series(date_trunc('month', s.scope_from AT TIME ZONE %(zone)s),
                                           date_trunc('year', s.scope_from AT TIME ZONE %(zone)s) + interval '11 months',
                                           '1 month') AS m (at)
                      LEFT JOIN household h ON h.service_point_id = s.id
                           AND h.valid_from <= greatest(m.at AT TIME ZONE %(zone)s, s.scope_from)
                           AND h.valid_to > greatest(m.at AT TIME ZONE %(zone)s, s.scope_from)) END AS persons_extra,
           CASE WHEN s.frame = 'YEAR' AND s.scope_from < v.prev_to THEN coalesce(
               -- What was billed since then, and what of it was corrected: counted anew, kept nowhere.
               (SELECT sum((SELECT sum(i.quantity) FROM bill_quantity i
                            WHERE i.bill_id = b.id AND i.from_at >= s.scope_from))
                FROM bill b
                WHERE b.service_point_id = s.id AND b.state <> 'void'
                  AND b.period_to > s.scope_from AND b.period_to <= v.prev_to), 0)
               + coalesce((SELECT sum(c.quantity) FROM counted_corrections c
                           WHERE c.service_point_id = s.id AND c.at >= s.scope_from AND c.period_to <= v.prev_to), 0)
               ELSE 0 END
           + coalesce(e.quantity, 0) AS year_before
    FROM segment s
    JOIN verdict v ON v.id = s.id AND v.parked IS NULL
    LEFT JOIN used q ON q.id = s.id AND q.seg = s.seg
    LEFT JOIN (SELECT s.id, s.seg, sum(u.quantity) AS quantity
               FROM segment s
               JOIN segment f ON f.id = s.id AND f.seg < s.seg AND f.from_at >= s.scope_from
               JOIN used u ON u.id = f.id AND u.seg = f.seg
               GROUP BY s.id, s.seg) e ON e.id = s.id AND e.seg = s.seg
),
by_kind AS MATERIALIZED (
    SELECT *, sum(quantity) OVER (PARTITION BY id, seg ORDER BY place) AS upto
    FROM (SELECT q.id, q.seg, q.kind, array_position(%(kinds)s::text[], q.kind) AS place, sum(q.quantity) AS quantity,
                 max(q.method) AS method
          FROM quantity q GROUP BY q.id, q.seg, q.kind) k
),
step AS MATERIALIZED (
    SELECT t.version_id, t.ordinal, t.price, t.kind_prices, t.upper_limit, t.persons_step,
           lag(t.upper_limit) OVER s AS lower_limit, lag(t.persons_step) OVER s AS lower_step
    FROM tier t WHERE t.version_id IN (SELECT id FROM in_force)
    WINDOW s AS (PARTITION BY t.version_id ORDER BY t.ordinal)
),
tiered AS MATERIALIZED (
    SELECT r.id, r.seg, r.mode, r.tou_kinds, r.version_id, r.from_at, r.to_at, r.method, r.quantity AS whole,
           t.ordinal, t.price, t.kind_prices, k.quantity
    FROM rated r
    JOIN step t ON t.version_id = r.version_id
    CROSS JOIN LATERAL (
        SELECT CASE WHEN r.frame = 'YEAR' THEN r.year_before ELSE 0 END AS before) c
    CROSS JOIN LATERAL (
        SELECT greatest(0, least(c.before + r.quantity,
                                 round(t.upper_limit * r.factor + t.persons_step * r.persons_extra, 6))
                           - greatest(c.before, round(t.lower_limit * r.factor + t.lower_step * r.persons_extra, 6)))
                   AS quantity) k
    WHERE r.quantity > 0 AND k.quantity > 0
),
-- Lines; `unrounded` is what the amount is before it is rounded.
usage_line AS MATERIALIZED (
    SELECT r.id, r.seg, 1 AS part, 0 AS tier, k.place, 'ENERGY' AS kind, k.kind AS label, k.quantity,
           coalesce(p.price, r.energy_price) AS rate, r.from_at, r.to_at, (%(methods)s::text[])[k.method] AS method,
           r.version_id, 'ENERGY' AS category
    FROM rated r
    JOIN by_kind k ON k.id = r.id AND k.seg = r.seg AND k.quantity <> 0
    LEFT JOIN tou_price p ON p.version_id = r.version_id AND p.kind = k.kind
    WHERE r.mode = 'ADDER'
    UNION ALL
    SELECT id, seg, 2, ordinal, 0, 'TIER', 'TOTAL', quantity, price, from_at, to_at, (%(methods)s::text[])[method],
           version_id, 'ENERGY'
    FROM tiered WHERE mode = 'ADDER' OR tou_kinds IS NULL
    UNION ALL
    SELECT t.id, t.seg, 2, t.ordinal, k.place, 'TIER', k.kind, s.quantity,
           coalesce((t.kind_prices ->> k.kind)::numeric, t.price), t.from_at, t.to_at,
           (%(methods)s::text[])[k.method], t.version_id, 'ENERGY'
    FROM tiered t
    JOIN by_kind k ON k.id = t.id AND k.seg = t.seg
    CROSS JOIN LATERAL (
        SELECT round(t.quantity * k.upto / t.whole, 6) - round(t.quantity * (k.upto - k.quantity) / t.whole, 6) AS quantity) s
    WHERE t.mode = 'ABSOLUTE' AND t.tou_kinds IS NOT NULL AND s.quantity <> 0
    UNION ALL
    SELECT r.id, r.seg, 3, f.ordinal, 0, 'FIXED', f.name, k.quantity, f.amount, r.from_at, r.to_at, 'days',
           r.version_id, 'FIXED'
    FROM rated r
    JOIN fixed_charge f ON f.version_id = r.version_id
    CROSS JOIN LATERAL (
        SELECT CASE f.basis WHEN 'PERIOD' THEN round(r.coverage, 6)
                    ELSE round(extract(epoch FROM (r.to_at AT TIME ZONE %(zone)s) - (r.from_at AT TIME ZONE %(zone)s))
                               / 86400, 6) END AS quantity) k
    WHERE k.quantity <> 0
),
minimum_line AS MATERIALIZED (
    SELECT m.id, m.seg, m.version_id, v.period_from AS from_at, %(period_to)s::timestamptz AS to_at, m.floor - coalesce(l.amount, 0) AS amount
    FROM (SELECT id, (array_agg(seg ORDER BY seg DESC))[1] AS seg, (array_agg(version_id ORDER BY seg DESC))[1] AS version_id,
                 round(sum(minimum_charge * coverage), 2) AS floor
          FROM rated GROUP BY id HAVING sum(minimum_charge) > 0) m
    JOIN verdict v ON v.id = m.id
    LEFT JOIN (SELECT id, sum(round(quantity * rate, 2)) AS amount FROM usage_line GROUP BY id) l ON l.id = m.id
    WHERE m.floor > coalesce(l.amount, 0)
),
plain_line AS NOT MATERIALIZED (
    SELECT id, seg, 0 AS phase, part, tier, place, kind, label, quantity, rate, round(quantity * rate, 2) AS amount,
           quantity * rate AS unrounded, false AS included, from_at, to_at, method, version_id, category,
           NULL::bigint AS corrects_bill_id, NULL::bigint AS adjustment_id
    FROM usage_line
    UNION ALL
    SELECT id, seg, 1, 0, 0, 0, 'MINIMUM', 'MINIMUM', 1, amount, amount, amount, false, from_at, to_at, 'minimum', version_id,
           'MINIMUM', NULL, NULL
    FROM minimum_line
),
tax_line AS MATERIALIZED (
    SELECT l.id, l.seg, 2 AS phase, array_position(ARRAY['ENERGY', 'FIXED', 'MINIMUM'], x.category) AS part, 0 AS tier,
           0 AS place, 'TAX' AS kind, x.category AS label, round(l.base, 6) AS quantity, x.rate,
           round(CASE WHEN x.inclusive THEN round(l.base * x.rate * 1.000000000000000000000000 / (1 + x.rate), 10)
                      ELSE l.base * x.rate END, 2) AS amount,
           CASE WHEN x.inclusive THEN 0 ELSE l.base * x.rate END AS unrounded, x.inclusive AS included,
           r.from_at, r.to_at, 'tax' AS method, x.version_id, x.category,
           NULL::bigint AS corrects_bill_id, NULL::bigint AS adjustment_id
    FROM (SELECT p.id, p.seg, p.version_id, p.category, sum(p.unrounded) AS base
          FROM plain_line p
          WHERE EXISTS (SELECT FROM tax_rule x WHERE x.version_id = p.version_id AND x.category = p.category)
          GROUP BY p.id, p.seg, p.version_id, p.category) l
    JOIN tax_rule x ON x.version_id = l.version_id AND x.category = l.category
    JOIN rated r ON r.id = l.id AND r.seg = l.seg
    WHERE l.base <> 0
),
-- Corrections of earlier bills: debits whole, credits as far as the bill does not fall below nothing.
correction AS MATERIALIZED (
    SELECT p.*, CASE WHEN p.open_amount >= 0 THEN p.open_amount
                     ELSE least(g.room, p.upto - p.open_amount) * -1 + least(g.room, p.upto) END AS amount
    FROM (SELECT p.*, coalesce(-sum(p.open_amount) FILTER (WHERE p.open_amount < 0)
                               OVER (PARTITION BY p.service_point_id ORDER BY p.id
                                     ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS upto,
                 coalesce(sum(p.open_amount) FILTER (WHERE p.open_amount > 0)
                          OVER (PARTITION BY p.service_point_id), 0) AS debits
          FROM pending p) p
    LEFT JOIN (SELECT id, sum(amount) AS gross FROM (SELECT id, amount FROM plain_line UNION ALL
                                                     SELECT id, amount FROM tax_line WHERE NOT included) l
               WHERE id IN (SELECT service_point_id FROM pending)
               GROUP BY id) l ON l.id = p.service_point_id
    CROSS JOIN LATERAL (SELECT coalesce(l.gross, 0) + p.debits AS room) g
),
line AS NOT MATERIALIZED (
    SELECT * FROM plain_line
    UNION ALL
    SELECT * FROM tax_line
    UNION ALL
    SELECT c.service_point_id, 0, 3, 0, 0, 0, CASE c.kind WHEN 'TRUE_UP' THEN 'TRUE_UP' ELSE 'ADJUSTMENT' END, c.kind,
           c.quantity, 0, c.amount, c.amount, false, c.from_at, c.to_at, 'adjustment', NULL, '', c.corrects_bill_id, c.id
    FROM correction c
    WHERE c.amount <> 0
),
-- The bills.
total AS (
    SELECT id, sum(amount) FILTER (WHERE NOT included) AS charge, sum(unrounded) AS exact,
           bool_or(kind = 'MINIMUM') AS minimum, bool_or(phase = 3) AS corrected
    FROM line GROUP BY id
),
consumed AS (
    SELECT id, sum(quantity) AS quantity, max(seg) AS last_seg, count(*) AS segments,
           max(year_before + quantity) FILTER (WHERE last AND frame = 'YEAR') AS year_quantity,
           bit_xor(hashtextextended(concat_ws(':', seg, version_id, persons, scope_from), 0)) AS versions
    FROM rated GROUP BY id
),
made AS MATERIALIZED (
    SELECT nextval('bill_id') AS bill_id, v.id, e.meter_id, e.device_id, v.subtype, p.address, v.period_from,
           v.months, v.coverage, v.prev_quantity, c.quantity, v.unit, v.opening, v.closing, coalesce(t.charge, 0) AS charge,
           coalesce(t.charge - t.exact, 0) AS rounding_delta, c.year_quantity,
           CASE WHEN v.estimated THEN v.prev_estimates + 1 ELSE 0 END AS estimates_in_a_row,
           array_remove(ARRAY[
               CASE WHEN t.corrected THEN 'corrected' END, CASE WHEN v.estimated THEN 'estimated' END,
               CASE WHEN v.prev_to IS NULL THEN 'first' END, CASE WHEN v.coverage > 1.5 THEN 'long_period' END,
               CASE WHEN t.minimum THEN 'minimum' END, CASE WHEN v.profile_split THEN 'profile_split' END,
               CASE WHEN v.meters > 1 THEN 'replaced' END, CASE WHEN v.rolled_over THEN 'rollover' END,
               CASE WHEN c.segments > 1 THEN 'split' END, CASE WHEN c.quantity = 0 THEN 'zero_usage' END], NULL) AS flags,
           hashtextextended(concat_ws('|', %(engine_version)s, v.id, v.period_from, %(period_to)s, v.months, v.coverage,
                                      c.versions, v.reading_hash, c.year_quantity, v.prev_estimates), 0) AS input_hash
    FROM verdict v
    JOIN consumed c ON c.id = v.id
    LEFT JOIN total t ON t.id = v.id
    JOIN placed l ON l.id = v.id AND l.from_at = v.last_from
    CROSS JOIN LATERAL (SELECT id AS meter_id, device_id FROM meter WHERE id = l.meter_id OFFSET 0) e
    CROSS JOIN LATERAL (SELECT address FROM premise WHERE id = v.premise_id OFFSET 0) p
    WHERE v.parked IS NULL
),
new_bill AS (
    INSERT INTO bill (id, project_id, run_id, service_point_id, meter_id, device_id, commodity, subtype, address, state,
                      period_from, period_to, months, coverage, previous_quantity, quantity, unit, opening, closing, charge,
                      rounding_delta, year_quantity, estimates_in_a_row, flags, cutoff, input_hash, engine_version,
                      original_bill_id, created_at)
    SELECT bill_id, %(project_id)s, %(run_id)s, id, meter_id, device_id, %(commodity)s, subtype, address, %(state)s,
           period_from, %(period_to)s, months, coverage, prev_quantity, quantity, unit, opening, closing, charge, rounding_delta,
           year_quantity, estimates_in_a_row, flags, %(cutoff)s, input_hash, %(engine_version)s,
           %(original_bill_id)s, %(now)s
    FROM made
),
new_quantity AS (
    INSERT INTO bill_quantity (bill_id, ordinal, register_id, kind, from_at, to_at, opening, closing, quantity,
                               opening_method, closing_method, opening_reading_id, closing_reading_id)
    SELECT b.bill_id, row_number() OVER (PARTITION BY q.id ORDER BY q.from_at, array_position(%(kinds)s::text[], q.kind)),
           q.register_id, q.kind, q.from_at, q.to_at, q.opening, q.closing, q.quantity, q.opening_method,
           q.closing_method, q.opening_reading_id, q.closing_reading_id
    FROM quantity q JOIN made b ON b.id = q.id
),
new_line AS (
    INSERT INTO bill_line (bill_id, ordinal, kind, label, tier, quantity, rate, amount, included, from_at, to_at, method,
                           tariff_version_id, corrects_bill_id, adjustment_id)
    SELECT b.bill_id, row_number() OVER (PARTITION BY l.id ORDER BY l.phase, l.seg, l.part, l.tier, l.place, l.adjustment_id),
           l.kind, l.label, nullif(CASE WHEN l.kind = 'TIER' THEN l.tier ELSE 0 END, 0), l.quantity, l.rate, l.amount,
           l.included, l.from_at, l.to_at, l.method, l.version_id, l.corrects_bill_id, l.adjustment_id
    FROM line l JOIN made b ON b.id = l.id
),
-- Occupants: the cents by the largest remainder.
weight AS MATERIALIZED (
    SELECT b.bill_id, b.charge, o.party_id, o.name, o.cellphone, o.weight, sum(o.weight) OVER w AS weights,
           count(*) OVER w AS parties
    FROM made b
    JOIN (SELECT o.service_point_id, o.party_id, p.name, p.cellphone,
                 sum(round(CASE %(share_key)s WHEN 'weight' THEN o.weight WHEN 'persons' THEN o.persons ELSE 1 END
                           * extract(epoch FROM least(o.valid_to, %(period_to)s) - greatest(o.valid_from, b.period_from)), 6))
                     AS weight
          FROM made b
          JOIN occupancy o ON o.service_point_id = b.id
          CROSS JOIN LATERAL (SELECT name, cellphone FROM party WHERE id = o.party_id OFFSET 0) p
          WHERE o.service_point_id BETWEEN %(low)s AND %(high)s
            AND o.valid_from < %(period_to)s AND o.valid_to > b.period_from
          GROUP BY o.service_point_id, o.party_id, p.name, p.cellphone) o ON o.service_point_id = b.id
    WINDOW w AS (PARTITION BY b.bill_id)
),
new_share AS (
    INSERT INTO bill_share (bill_id, party_id, name, cellphone, weight, amount)
    SELECT bill_id, party_id, name, cellphone, weight,
           (cents + CASE WHEN row_number() OVER (PARTITION BY bill_id ORDER BY rest DESC, party_id)
                          <= charge * 100 - sum(cents) OVER (PARTITION BY bill_id) THEN 1 ELSE 0 END) / 100
    FROM (SELECT w.*, div(w.charge * 100 * k.part, k.whole) AS cents, mod(w.charge * 100 * k.part, k.whole) AS rest
          FROM weight w
          CROSS JOIN LATERAL (
              SELECT CASE WHEN w.weights = 0 THEN 1 ELSE w.weight END AS part,
                     CASE WHEN w.weights = 0 THEN w.parties ELSE w.weights END AS whole) k) s
),
used_adjustment AS (
    UPDATE adjustment a
    SET open_amount = a.open_amount - c.amount, first_bill_id = coalesce(a.first_bill_id, b.bill_id)
    FROM correction c JOIN made b ON b.id = c.service_point_id
    WHERE a.id = c.id AND c.amount <> 0
),
new_exception AS (
    INSERT INTO billing_exception (project_id, service_point_id, meter_id, run_id, kind, detail, parked, created_at)
    SELECT %(project_id)s, v.id, p.meter_id, %(run_id)s, v.parked,
           CASE v.parked
                WHEN 'no_tariff' THEN 'no tariff version is in force for all of the period from ' || v.period_from
                WHEN 'no_reading' THEN 'no reading to bill or estimate from, in the period from ' || v.period_from
                ELSE 'already ' || v.prev_estimates || ' estimated bills in a row' END, true, %(now)s
    FROM verdict v JOIN placed p ON p.id = v.id AND p.from_at = v.last_from
    WHERE v.parked IS NOT NULL
    ON CONFLICT (service_point_id, kind, coalesce(reading_id, 0)) WHERE state = 'open' DO NOTHING
),
tallied AS (
    INSERT INTO bill_tally (project_id, commodity, slot, bills)
    SELECT %(project_id)s, %(commodity)s, %(slot)s, count(*) FROM made
    WHERE %(state)s = 'final' HAVING count(*) > 0
    ON CONFLICT (project_id, commodity, slot) DO UPDATE SET bills = bill_tally.bills + excluded.bills
)
SELECT (SELECT count(*) FROM made) AS billed,
       (SELECT coalesce(sum(charge), 0) FROM made) AS total,
       (SELECT count(*) FROM verdict WHERE parked IS NOT NULL) AS parked,
       (SELECT array_agg(DISTINCT f.period_from) FROM found f JOIN installed i USING (id)
         WHERE f.period_from <> ALL (%(starts)s::timestamptz[])) AS unknown_starts

-- name: allow_long
-- Waiting for others and pricing a chunk may take longer than a request.
SELECT set_config('statement_timeout', %(timeout)s, true)

-- name: plan_for_chunks
-- Nested loops over common table expressions would be quadratic; what must be looked up one by one is lateral.
-- All else in the transaction is planned as usual.
SELECT set_config('enable_nestloop', %(nestloop)s, true), set_config('jit', 'off', true),
       set_config('work_mem', '64MB', true)

-- name: find_rules
-- How a project is billed; no row: by the defaults.
SELECT timezone, reading_mode, cut, month_end, boundary_tolerance, estimates_in_a_row, plausibility_factor, share_key,
       grace_days
FROM billing_project WHERE project_id = %(project_id)s

-- name: find_ordered
-- What a run of a billing task needs to know of it, deleted or not: a run that has begun is brought to its end.
SELECT d.id AS definition_id, d.project_id, d.name, t.commodity, s.expression, s.timezone
FROM definition d
JOIN billing_task t ON t.definition_id = d.id
JOIN schedule s ON s.id = d.schedule_id
WHERE d.id = %(definition_id)s

-- name: open_run
-- The run of a task at an instant. One that was killed or failed keeps its cutoff; one that left service points
-- parked takes a new one for them; one that succeeded stays as it is.
INSERT INTO billing_run (definition_id, project_id, commodity, due_at, period_to, cutoff, origin, state, airflow_run,
                         started_at)
VALUES (%(definition_id)s, %(project_id)s, %(commodity)s, %(due_at)s, %(period_to)s, clock_timestamp(), %(origin)s,
        'running', %(airflow_run)s, %(now)s)
ON CONFLICT ON CONSTRAINT billing_run_once DO UPDATE
SET cutoff = CASE WHEN billing_run.state IN ('running', 'failed') THEN billing_run.cutoff ELSE clock_timestamp() END,
    state = 'running', airflow_run = excluded.airflow_run, parked = 0, reason = NULL, finished_at = NULL
WHERE billing_run.state <> 'succeeded'
RETURNING id, period_to, cutoff, billed, adjusted, parked, total, state, xmax <> 0 AS repeated

-- name: find_run
-- The run of a task at an instant.
SELECT id, period_to, cutoff, billed, adjusted, parked, total, state, true AS repeated
FROM billing_run WHERE definition_id = %(definition_id)s AND due_at = %(due_at)s

-- name: count_chunk
-- What a chunk did, in the transaction that did it.
UPDATE billing_run
SET billed = billed + %(billed)s, adjusted = adjusted + %(adjusted)s, parked = parked + %(parked)s,
    total = total + %(total)s
WHERE id = %(run_id)s

-- name: finish_run
-- The end of a run.
UPDATE billing_run
SET state = coalesce(%(state)s, CASE WHEN parked > 0 THEN 'partial' ELSE 'succeeded' END), reason = %(reason)s,
    finished_at = %(now)s
WHERE id = %(run_id)s
RETURNING id, period_to, cutoff, billed, adjusted, parked, total, state

-- name: note_run
-- The task ran; a run that is repeated counts once.
UPDATE billing_task
SET last_run_at = greatest(last_run_at, %(due_at)s), run_count = run_count + CASE WHEN %(repeated)s THEN 0 ELSE 1 END
WHERE definition_id = %(definition_id)s

-- name: list_buckets
-- The service points of a project by fixed ranges of ids, so that a retry meets the same chunks.
SELECT id / %(size)s AS bucket, min(id) AS low, max(id) AS high, count(*) AS points
FROM service_point
WHERE project_id = %(project_id)s AND commodity = %(commodity)s
GROUP BY id / %(size)s ORDER BY 1

-- name: lock_points
-- Whoever writes bills or adjustments of a range of service points does so alone.
SELECT pg_advisory_xact_lock(hashtextextended(concat_ws('|', 'bills', %(project_id)s::text, %(commodity)s::text, bucket), 0))
FROM (SELECT generate_series(%(low)s::bigint / %(size)s, %(high)s::bigint / %(size)s) AS bucket ORDER BY 1) b

-- name: finalize_drafts
-- Drafts of a range whose days of grace are over become final.
WITH made AS (
    UPDATE bill SET state = 'final'
    WHERE state = 'draft' AND project_id = %(project_id)s AND commodity = %(commodity)s AND created_at <= %(before)s
      AND service_point_id BETWEEN %(low)s AND %(high)s
    RETURNING id
)
INSERT INTO bill_tally (project_id, commodity, slot, bills)
SELECT %(project_id)s, %(commodity)s, %(slot)s, count(*) FROM made HAVING count(*) > 0
ON CONFLICT (project_id, commodity, slot) DO UPDATE SET bills = bill_tally.bills + excluded.bills

-- name: park_points
-- Service points that could not be billed for a reason that the statement did not foresee.
INSERT INTO billing_exception (project_id, service_point_id, run_id, kind, detail, parked, created_at)
SELECT %(project_id)s, id, %(run_id)s, %(kind)s, %(detail)s, true, %(now)s FROM unnest(%(ids)s::bigint[]) AS id
ON CONFLICT (service_point_id, kind, coalesce(reading_id, 0)) WHERE state = 'open' DO NOTHING

-- name: close_exceptions
-- What kept a service point from its bill is settled when the bill is there.
UPDATE billing_exception e
SET state = 'resolved', resolution = 'billed', resolved_at = %(now)s
WHERE e.state = 'open' AND e.parked AND e.service_point_id BETWEEN %(low)s AND %(high)s
  AND EXISTS (SELECT FROM bill b WHERE b.service_point_id = e.service_point_id AND b.state <> 'void'
                                   AND b.period_to = %(period_to)s)

-- name: list_points
-- The service points of a range that belong to a project.
SELECT id FROM service_point
WHERE project_id = %(project_id)s AND commodity = %(commodity)s AND id BETWEEN %(low)s AND %(high)s ORDER BY id

-- name: list_doubtful
-- Service points of a range whose bills may have to be corrected, and since when: those that were asked for, and
-- those whose last bills end at an estimate.
SELECT id, min(since) AS since
FROM (
    SELECT r.service_point_id AS id, r.since
    FROM rerate_request r
    JOIN service_point p ON p.id = r.service_point_id
    WHERE r.service_point_id BETWEEN %(low)s AND %(high)s AND r.requested_at <= %(cutoff)s
      AND p.project_id = %(project_id)s AND p.commodity = %(commodity)s
    UNION ALL
    SELECT p.id, e.since
    FROM service_point p
    CROSS JOIN LATERAL (
        SELECT b.estimates_in_a_row FROM bill b
        WHERE b.service_point_id = p.id AND b.state <> 'void'
        ORDER BY b.period_to DESC LIMIT 1) l
    CROSS JOIN LATERAL (
        SELECT min(b.period_from) AS since
        FROM (SELECT period_from FROM bill b WHERE b.service_point_id = p.id AND b.state <> 'void'
              ORDER BY b.period_to DESC LIMIT l.estimates_in_a_row) b) e
    WHERE p.id BETWEEN %(low)s AND %(high)s AND p.project_id = %(project_id)s AND p.commodity = %(commodity)s
      AND l.estimates_in_a_row > 0) d
GROUP BY id ORDER BY id

-- name: load_chain
-- The bills of service points that end after their `since`, and those of the year before them first, the oldest
-- first; with what their own lines add up to, what adjustments have corrected so far, and the pieces of time in
-- which they count. `found` are differences that were found, `granted` quantities that a person decided on.
SELECT b.id, b.service_point_id, b.period_from, b.period_to, b.months, b.coverage, b.quantity,
       b.estimates_in_a_row, b.flags, b.cutoff, b.period_to <= s.since AS earlier,
       b.charge - coalesce((SELECT sum(l.amount) FROM bill_line l
                            WHERE l.bill_id = b.id AND l.adjustment_id IS NOT NULL), 0) AS own_charge,
       coalesce((SELECT sum(a.quantity) FROM adjustment a
                 WHERE a.corrects_bill_id = b.id AND NOT a.manual), 0) AS found_quantity,
       coalesce((SELECT sum(a.amount) FROM adjustment a
                 WHERE a.corrects_bill_id = b.id AND NOT a.manual), 0) AS found_amount,
       coalesce((SELECT sum(a.quantity) FROM adjustment a
                 WHERE a.corrects_bill_id = b.id AND a.manual), 0) AS granted_quantity,
       (SELECT jsonb_agg(jsonb_build_array(extract(epoch FROM q.from_at)::text, q.quantity::text) ORDER BY q.ordinal)
        FROM bill_quantity q WHERE q.bill_id = b.id) AS pieces
FROM unnest(%(ids)s::bigint[], %(sinces)s::timestamptz[]) AS s (id, since)
CROSS JOIN LATERAL (
    SELECT * FROM bill b
    WHERE b.service_point_id = s.id AND b.state <> 'void'
      AND b.period_to >= least(s.since - interval '400 days', (
            SELECT max(p.period_to) FROM bill p
            WHERE p.service_point_id = s.id AND p.state <> 'void' AND p.period_to <= s.since))
    OFFSET 0) b
ORDER BY b.service_point_id, b.period_to

-- name: insert_adjustments
-- What bills were too high or too low, to be carried by the next bill.
INSERT INTO adjustment (project_id, service_point_id, corrects_bill_id, kind, quantity, amount, open_amount, reason,
                        detail, cutoff, created_at)
SELECT %(project_id)s, a.service_point_id, a.bill_id, a.kind, a.quantity, a.amount, a.amount, a.reason, a.detail,
       %(cutoff)s, %(now)s
FROM jsonb_to_recordset(%(rows)s::jsonb)
     AS a (service_point_id bigint, bill_id bigint, kind text, quantity numeric, amount numeric, reason text, detail jsonb)

-- name: drop_requests
-- These were looked at again; what was asked for after the cutoff waits for the next run.
DELETE FROM rerate_request WHERE service_point_id = ANY(%(ids)s) AND requested_at <= %(cutoff)s

-- name: facts_of_points
-- Service points with the project that bills them.
SELECT p.id, p.project_id, p.commodity, p.subtype, c.daily_quantity
FROM service_point p LEFT JOIN usage_class c ON c.id = p.usage_class_id
WHERE p.id = ANY(%(ids)s)

-- name: facts_of_installations
-- Every meter that is or was at these service points.
SELECT i.id, i.service_point_id, i.meter_id, m.device_id, i.valid_from,
       least(i.valid_to, '9999-12-31 23:59:59.999999+00') AS valid_to
FROM meter_installation i JOIN meter m ON m.id = i.meter_id
WHERE i.service_point_id = ANY(%(ids)s)
ORDER BY i.service_point_id, i.valid_from

-- name: facts_of_registers
-- The registers of meters.
SELECT id, meter_id, kind, unit, multiplier, modulus FROM register
WHERE meter_id = ANY(%(meter_ids)s) ORDER BY meter_id, id

-- name: facts_of_readings
-- What was known at the cutoff of what these meters counted.
SELECT g.id, g.register_id, g.installation_id, g.read_at, g.total
FROM meter_installation i
JOIN register r ON r.meter_id = i.meter_id
CROSS JOIN LATERAL good_readings(r.id, i.id, %(cutoff)s) g
WHERE i.service_point_id = ANY(%(ids)s)
ORDER BY g.register_id, g.read_at, g.id

-- name: facts_of_assignments
-- The tariffs of these service points, their own and those of their project.
SELECT a.tariff_id, a.service_point_id, a.project_id, a.commodity, a.subtype, a.valid_from,
       least(a.valid_to, '9999-12-31 23:59:59.999999+00') AS valid_to
FROM tariff_assignment a
WHERE a.service_point_id = ANY(%(ids)s)
   OR (a.service_point_id IS NULL AND a.project_id = ANY(%(project_ids)s))
ORDER BY a.valid_from

-- name: versions_known
-- Tariff versions that were recorded by the cutoff.
SELECT id FROM tariff_version WHERE tariff_id = ANY(%(tariff_ids)s) AND recorded_at <= %(cutoff)s

-- name: facts_of_occupancies
-- Who lives or lived at these service points.
SELECT o.service_point_id, o.party_id, p.name, p.cellphone, o.valid_from,
       least(o.valid_to, '9999-12-31 23:59:59.999999+00') AS valid_to, o.persons, o.weight
FROM occupancy o JOIN party p ON p.id = o.party_id
WHERE o.service_point_id = ANY(%(ids)s)
ORDER BY o.service_point_id, o.valid_from, o.party_id
