"""A plain Airflow cron DAG: due every minute, one task on a worker, one POST. Paused until it is measured."""

import os

import pendulum
from airflow.sdk import dag, task


@dag(
    dag_id="benchmark.plain_cron",
    schedule="* * * * *",
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    is_paused_upon_creation=True,
)
def plain_cron() -> None:
    @task
    def post(run_id: str | None = None) -> None:
        import requests

        url = os.environ["CARILLON_BENCH_RECEIVER"] + "/plain"
        requests.post(url, json={"hello": "world"}, headers={"webhook-id": run_id}, timeout=10)

    post()


plain_cron()
