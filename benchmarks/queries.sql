-- name: live_dags
-- Of these DAGs, those that Airflow has planned a run of.
SELECT count(*) FROM dag WHERE dag_id = ANY(%(dag_ids)s) AND next_dagrun_create_after IS NOT NULL AND NOT is_stale

-- name: dag_ids
-- The DAGs of these definitions.
SELECT DISTINCT s.dag_id FROM definition d JOIN schedule s ON s.id = d.schedule_id WHERE d.id = ANY(%(ids)s)

-- name: last_parse
-- When the factory's DAGs were parsed last.
SELECT extract(epoch FROM max(last_parsed_time))::double precision FROM dag WHERE dag_id LIKE 'callback.%%'

-- name: transactions
-- Transactions ended since the server began, by database.
SELECT datname, xact_commit + xact_rollback FROM pg_stat_database WHERE datname IN ('carillon', 'airflow')

-- name: server_version
-- Which Postgres it is.
SELECT current_setting('server_version')

-- name: timer_ids
-- All timers that are not deleted.
SELECT id FROM definition WHERE kind = 'timer' AND deleted_at IS NULL

-- name: count_ended
-- How many timers of an instant have ended.
SELECT count(*) FROM execution e JOIN definition d ON d.id = e.definition_id
WHERE d.kind = 'timer' AND e.due_at = %(due)s AND e.state IN ('succeeded', 'failed', 'skipped', 'missed')

-- name: sent_span
-- The first send and the last acknowledgement of an instant, seconds since the epoch.
SELECT extract(epoch FROM min(a.begin_at))::double precision, extract(epoch FROM max(a.end_at))::double precision
FROM attempt a JOIN definition d ON d.id = a.definition_id
WHERE d.kind = 'timer' AND a.due_at = %(due)s

-- name: count_statements
-- Statements that the database got since the server began.
SELECT coalesce(sum(s.calls), 0) FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid
WHERE d.datname = 'carillon'

-- name: batch_finished_at
-- When a batch task had finished, seconds since the epoch; null: it has not.
SELECT extract(epoch FROM finished_at)::double precision FROM batch_task WHERE task_id = %(task_id)s

-- name: run_state
-- The state of a run, and how many task instances it has.
SELECT r.state, (SELECT count(*) FROM task_instance i WHERE i.dag_id = r.dag_id AND i.run_id = r.run_id)
FROM dag_run r WHERE r.dag_id = %(dag_id)s AND r.run_id = %(run_id)s
