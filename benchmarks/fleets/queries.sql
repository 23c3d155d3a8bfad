-- name: fill_tasks
-- Finished tasks, the first of which will have most sub-tasks: nine of ten of one project, nine of ten of one type,
-- one of fifty failed, one of twenty paused.
INSERT INTO batch_task (task_id, project_id, app_id, task_name, task_type, targets, document, status, paused_at,
                        runs_started, created_at, updated_at, started_at, finished_at)
SELECT lpad(to_hex(n), 24, '0'), CASE WHEN mod(n, 10) = 7 THEN 'other' ELSE %(project)s END, 'app' || mod(n, 3),
       'evening lights ' || n, CASE WHEN mod(n, 10) = 5 THEN 'createMessages' ELSE 'createCommands' END,
       ARRAY['bench-00001', 'bench-00002', 'bench-00003'],
       '{"service_id": "light", "command_name": "switch", "paras": {"on": true}}',
       CASE WHEN mod(n, 50) = 1 THEN 'Fail' ELSE 'Success' END, CASE WHEN mod(n, 20) = 2 THEN now() END,
       1, now(), now(), now(), now()
FROM generate_series(1, %(tasks)s) n

-- name: fill_subtasks
-- Finished sub-tasks: so many in the middle are of the first task, the others by turns of all others; one of fifty
-- failed, the last one of fifty of the first task are its second wave.
INSERT INTO batch_subtask (batch_id, target, wave, status, attempt, output, error_code, error_msg, created_at,
                           updated_at, finished_at)
SELECT CASE WHEN place BETWEEN 1 AND %(shown)s THEN 1 ELSE 2 + mod(n, %(tasks)s - 1) END, 'bench-' || n,
       CASE WHEN place BETWEEN 0.98 * %(shown)s + 1 AND %(shown)s THEN 2 ELSE 1 END,
       CASE WHEN mod(n, 50) = 1 THEN 'Fail' ELSE 'Success' END, 1, '{"result_code":0}',
       CASE WHEN mod(n, 50) = 1 THEN 'IOTDA.014016' END, CASE WHEN mod(n, 50) = 1 THEN 'the device is offline' END,
       now(), now(), now()
FROM (SELECT n, n - %(before)s AS place FROM generate_series(1, %(subtasks)s) n) numbered
ORDER BY n

-- name: settle
-- What years of autovacuum would have done.
VACUUM ANALYZE
