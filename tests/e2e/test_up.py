"""`./carillon up`: first and second start, every way to end it, what a broken start leaves to the next."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from include.cli.home import ROOT
from include.cli.readiness import fetch, unhealthy
from tests.e2e.conftest import Launcher, Up


@dataclass
class FirstStart:
    """What was seen of the very first start on a home, which was then ended by SIGTERM."""

    home: Path
    port: int
    ready_seconds: float
    document: dict[str, Any]
    file_mode: int
    health: dict[str, Any] | None
    simulator: dict[str, Any] | None
    signed_in: bool
    tables: set[str]
    family: list[psutil.Process]
    exit_code: int


@pytest.fixture(scope="module")
def first(prepare: Launcher) -> FirstStart:
    up = prepare().start()
    document = up.wait_ready()
    with psycopg.connect(document["database_url"]) as connection:
        rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    return FirstStart(
        home=up.home,
        port=up.port,
        ready_seconds=up.ready_seconds,
        document=document,
        file_mode=stat.S_IMODE((up.home / "instance.json").stat().st_mode),
        health=fetch(document["health_url"]),
        simulator=fetch(f"{document['gateway_url']}/_admin/health"),
        signed_in=sign_in(document),
        tables={row[0] for row in rows},
        family=up.family(),
        exit_code=up.stop(signal.SIGTERM),
    )


def sign_in(document: dict[str, Any]) -> bool:
    body = json.dumps({"username": document["admin_user"], "password": document["admin_password"]}).encode()
    request = urllib.request.Request(
        f"{document['url']}/auth/token", body, {"Content-Type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return "access_token" in json.load(answer)


def alive(processes: Iterable[psutil.Process]) -> list[str]:
    found = []
    for process in processes:
        try:
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline())[:120])
        except psutil.NoSuchProcess:
            continue
    return found


def wait_until(condition: Callable[[], bool], timeout: float = 60.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.1)


def run_up(home: Path, port: int, **env: str) -> subprocess.CompletedProcess[str]:
    """Run `./carillon up` where it is expected to refuse at once."""
    environment = {**os.environ, "CARILLON_HOME": str(home), "CARILLON_PORT": str(port), **env}
    words = [str(ROOT / "carillon"), "up"]
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, check=False)


class TestFirstStart:
    def test_every_part_is_healthy(self, first: FirstStart) -> None:
        assert unhealthy(first.health, since=0) == []

    def test_admin_password_opens_airflow(self, first: FirstStart) -> None:
        assert first.signed_in

    def test_database_is_migrated(self, first: FirstStart) -> None:
        assert {"carillon_alembic_version", "schedule"} <= first.tables

    def test_json_and_file_say_the_same_and_the_file_is_private(self, first: FirstStart) -> None:
        assert first.file_mode == 0o600
        assert first.document["url"] == f"http://127.0.0.1:{first.port}"
        assert set(first.document["processes"]) == {
            *("postgres", "simulator", "api-server", "scheduler", "dag-processor", "triggerer")
        }

    def test_device_simulator_answers(self, first: FirstStart) -> None:
        assert first.simulator == {"status": "healthy"}

    def test_sigterm_ends_it_in_order(self, first: FirstStart) -> None:
        assert first.exit_code == 0
        assert len(first.family) > 6
        assert alive(first.family) == []
        assert not (first.home / "instance.json").exists()


@pytest.fixture(scope="module")
def second(first: FirstStart, launch: Launcher) -> Up:
    """Started again, with an outbound guard that lets no call of the demo pass."""
    return launch(first.home, port=first.port, env={"CARILLON_EGRESS_ALLOW": "10.0.0.0/8"})


@pytest.fixture(scope="module")
def bereaved() -> list[psutil.Process]:
    """What a process that was killed left behind, such as the triggerer's log server."""
    return []


class TestSecondStart:
    def test_does_not_repeat_what_the_first_did(self, second: Up) -> None:
        assert "starting the database server" in second.messages
        assert "first start" not in second.messages  # no new cluster, no migration of Airflow's tables

    def test_keeps_its_credentials_and_its_database(self, first: FirstStart, second: Up) -> None:
        assert second.instance.admin_password == first.document["admin_password"]
        assert second.instance.database_url == first.document["database_url"]

    def test_the_same_home_cannot_run_twice(self, second: Up) -> None:
        refused = run_up(second.home, second.port)
        assert refused.returncode == 1
        assert f"process {second.instance.pid}, {second.url}" in refused.stderr
        assert "Traceback" not in refused.stderr
        assert second.instance.url  # the running one is none the worse

    def test_the_demo_names_a_guard_that_is_closed(self, second: Up) -> None:
        done = subprocess.run(
            [str(ROOT / "carillon"), "demo", "--seconds", "30"],
            env={**os.environ, "CARILLON_HOME": str(second.home)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert "CARILLON_EGRESS_ALLOW=127.0.0.0/8" in done.stderr

    def test_status_names_the_processes(self, second: Up) -> None:
        environment = {**os.environ, "CARILLON_HOME": str(second.home)}
        done = subprocess.run(
            [str(ROOT / "carillon"), "status", "--json"],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        states = {item["name"]: item["state"] for item in json.loads(done.stdout)["processes"]}
        assert set(states.values()) == {"RUNNING"}
        assert len(states) == 6

    def test_a_killed_process_comes_back(self, second: Up, bereaved: list[psutil.Process]) -> None:
        before = second.instance.processes["triggerer"]
        victim = psutil.Process(before)
        bereaved += victim.children(recursive=True)
        victim.kill()
        wait_until(lambda: second.instance.processes.get("triggerer", before) != before)

    def test_all_come_through_a_database_restart(self, second: Up) -> None:
        began = time.time()
        before = second.instance.processes["postgres"]
        psutil.Process(before).send_signal(signal.SIGINT)
        wait_until(lambda: second.instance.processes.get("postgres", before) != before)
        wait_until(lambda: unhealthy(fetch(second.instance.health_url), since=began + 5) == [], timeout=120)


class TestRefusals:
    """A sentence and a non-zero exit; nothing is left running, and nothing in the way of the next start."""

    def test_busy_port(self, homes: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            refused = run_up(homes / "busy", port)
        assert refused.returncode == 1
        assert refused.stderr.splitlines()[-1].startswith(f"carillon: port {port} on 127.0.0.1 is taken")

    def test_home_below_a_file(self, homes: Path) -> None:
        (homes / "file").touch()
        refused = run_up(homes / "file" / "home", 8080)
        assert refused.returncode == 1
        assert "cannot be written" in refused.stderr
        assert "Traceback" not in refused.stderr

    @pytest.mark.skipif(not Path("/proc/sys").is_dir(), reason="needs a folder that even root cannot write")
    def test_read_only_home(self) -> None:
        refused = run_up(Path("/proc/sys/carillon"), 8080)
        assert refused.returncode == 1
        assert "CARILLON_HOME" in refused.stderr

    def test_bad_setting_is_named(self, homes: Path) -> None:
        refused = run_up(homes / "bad", 8080, CARILLON_TIMEZONE="Mars/Olympus")
        assert refused.returncode == 2
        assert "CARILLON_TIMEZONE" in refused.stderr
        assert "Traceback" not in refused.stderr


class TestOrdinaryUser:
    """The same as somebody who is not root, from a checkout of their own, beside another instance."""

    @pytest.fixture
    def checkout(self, homes: Path) -> Path:
        """A copy whose venv borrows this one's packages: what is tested is the start, not the download."""
        python = system_python()
        if os.geteuid() != 0 or python is None or shutil.which("setpriv") is None:
            pytest.skip("needs root, setpriv, and a Python of this version that every user can run")
        copy = homes / "checkout"
        shutil.copytree(
            ROOT,
            copy,
            ignore=shutil.ignore_patterns(".venv", ".git", ".carillon", "__pycache__", ".mypy_cache"),
        )
        subprocess.run([python, "-m", "venv", "--without-pip", str(copy / ".venv")], check=True)
        packages = Path(psycopg.__file__).parents[1]
        site = next((copy / ".venv" / "lib").glob("python*")) / "site-packages"
        (site / "borrowed.pth").write_text(f"{packages}\n")
        with (ROOT / "requirements.txt").open("rb") as requirements:
            checksum = subprocess.run(["cksum"], stdin=requirements, capture_output=True, check=True).stdout
        (copy / ".venv" / ".carillon-installed").write_bytes(checksum)
        subprocess.run(["chown", "-R", "65534:65534", str(copy)], check=True)
        return copy

    def test_runs_beside_another_instance(self, second: Up, checkout: Path, prepare: Launcher) -> None:
        nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]
        up = prepare(checkout / "state", root=checkout, prefix=nobody, env={"HOME": str(checkout)}).start()
        up.wait_ready()
        family = up.family()
        assert {process.username() for process in family} == {"nobody"}
        for each in (up, second):
            assert unhealthy(fetch(each.instance.health_url), since=0) == []
        assert up.instance.database_url != second.instance.database_url
        assert up.stop() == 0
        assert alive(family) == []


@pytest.fixture(scope="module")
def third(second: Up, bereaved: list[psutil.Process], launch: Launcher) -> Up:
    family = [*second.family(), *bereaved]
    second.stop(signal.SIGKILL)
    third = launch(second.home, port=second.port)
    assert alive(family) == []
    return third


@pytest.fixture(scope="module")
def fourth(third: Up, launch: Launcher) -> Up:
    family = third.family()
    manager = next(process for process in family if "supervisor.supervisord" in process.cmdline())
    manager.suspend()  # so that it cannot end them when it learns of its parent's end
    third.stop(signal.SIGKILL)
    manager.kill()
    fourth = launch(third.home, port=third.port)
    assert alive(family) == []
    return fourth


class TestKilled:
    """Nothing outlives a `kill -9` for long, and the next start does not even wait for that."""

    def test_killed_while_running(self, third: Up) -> None:
        assert unhealthy(fetch(third.instance.health_url), since=0) == []

    def test_killed_together_with_the_process_manager(self, fourth: Up) -> None:
        """With nobody left to end them in order, the processes end by themselves or by the next start."""
        assert unhealthy(fetch(fourth.instance.health_url), since=0) == []

    def test_ctrl_c_ends_it_and_what_a_killed_process_left(self, fourth: Up) -> None:
        victim = psutil.Process(fourth.instance.processes["triggerer"])
        family = [*fourth.family(), *victim.children(recursive=True)]
        victim.kill()
        assert fourth.stop(signal.SIGINT) == 130
        assert alive(family) == []
        assert "Traceback" not in fourth.messages

    def test_killed_half_way_through_the_first_start(self, prepare: Launcher, launch: Launcher) -> None:
        seed = random.randrange(10**6)
        moments = random.Random(seed)
        victim = prepare()
        families = []
        for seconds in (moments.uniform(0.5, 1.5), moments.uniform(2, 12)):
            victim.start()
            time.sleep(seconds)
            families += victim.family()
            victim.stop(signal.SIGKILL)
        successor = launch(victim.home, port=victim.port)
        assert alive(families) == [], f"seed {seed}"
        assert successor.stop() == 0


def system_python() -> str | None:
    """Return a Python of our own minor version in a folder open to all."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return shutil.which(f"python{version}", path="/usr/bin:/usr/local/bin")
