"""One start of one instance: from nothing to ready to gone."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from include.cli.airflow_env import ADMIN, build_environment
from include.cli.database import migrate_airflow, migrate_carillon
from include.cli.gateway import LocalGateway, choose_gateway, ensure_token
from include.cli.home import Home
from include.cli.instance import Instance
from include.cli.leftovers import end_leftovers
from include.cli.postgres import LocalPostgres, is_port_free
from include.cli.processes import build_processes
from include.cli.progress import Progress
from include.cli.readiness import wait_healthy, wait_simulator
from include.cli.supervisor import Manager
from include.errors import StartupError
from include.settings import Settings

WATCH_INTERVAL_SECONDS = 2.0


class Launch:
    """The stages of a start, in order; every one may be interrupted, and the next start copes with it."""

    def __init__(self, home: Home, settings: Settings, progress: Progress) -> None:
        self.home = home
        self.settings = settings
        self.progress = progress
        self.postgres = LocalPostgres(home.postgres)
        self.manager = Manager(home)
        self.environment: dict[str, str] = {}

    @contextmanager
    def running(self) -> Iterator[Instance]:
        """Bring the instance up, and down again whatever happens."""
        self._clear_the_way()
        try:
            yield self._bring_up()
        finally:
            self.progress.say("stopping")
            self.home.instance_file.unlink(missing_ok=True)
            self.manager.stop()
            self.progress.say("stopped, nothing is left running")

    def watch(self, instance: Instance) -> None:
        """Keep the record of process ids true until somebody ends us."""
        known = instance.processes
        while True:
            time.sleep(WATCH_INTERVAL_SECONDS)
            self.manager.check()
            pids = self.manager.pids()
            if pids != known:
                known = pids
                instance.with_processes(pids).write(self.home.instance_file)

    def _clear_the_way(self) -> None:
        self.home.instance_file.unlink(missing_ok=True)
        if count := end_leftovers(self.home.process_file, self.postgres.data):
            self.progress.say(f"ended {count} processes that an earlier start left behind")
        if not is_port_free(self.settings.port, self.settings.host):
            raise StartupError(
                f"port {self.settings.port} on {self.settings.host} is taken by another program:"
                " end it, or set CARILLON_PORT to a free one"
            )

    def _bring_up(self) -> Instance:
        began = time.time()
        gateway = choose_gateway(self.settings)
        self._start_database(gateway)
        migrate_carillon(self.postgres, self.progress)
        if gateway.simulator_port is not None:
            ensure_token(self.home.simulator_token, self.postgres.url("carillon"))
        migrate_airflow(self.postgres, self.environment, self.progress)
        self.progress.say("starting Airflow: API server, scheduler, DAG processor, triggerer")
        self.manager.supervisor.start_group("airflow")
        wait_healthy(self.settings, self.manager, self.home.logs, since=began)
        if gateway.simulator_port is not None:
            wait_simulator(gateway.url, self.home.logs)
        instance = self._describe(gateway)
        instance.write(self.home.instance_file)
        self.progress.say("ready")
        return instance

    def _start_database(self, gateway: LocalGateway) -> None:
        first = not self.postgres.data.exists()
        self.progress.say(
            "making the database server (first start)" if first else "starting the database server"
        )
        self.postgres.prepare()
        self.environment = build_environment(self.home, self.settings, self.postgres, gateway_url=gateway.url)
        processes = build_processes(
            self.settings, self.postgres, gateway.simulator_port, self.home.simulator_token
        )
        self.manager.start(processes, self.environment)
        self.postgres.wait_ready(timeout=60)

    def _describe(self, gateway: LocalGateway) -> Instance:
        url = f"http://127.0.0.1:{self.settings.port}"
        return Instance(
            pid=os.getpid(),
            home=str(self.home.path),
            url=url,
            airflow_url=f"{url}/",
            health_url=f"{url}/api/v2/monitor/health",
            admin_user=ADMIN,
            admin_password=self.home.secrets().admin_password,
            database_url=self.postgres.url("carillon"),
            airflow_database_url=self.postgres.url("airflow"),
            control_socket=str(self.manager.control_socket),
            processes=self.manager.pids(),
            gateway_url=gateway.url,
        )
