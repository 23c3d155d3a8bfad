"""Whole instances for end-to-end tests: `./carillon up` in a home of its own, on a free port.

def test_something(instance):               # one for the session, default options
def test_between_two(pair, gateway):        # the other: two triggerers, a gateway to be killed
def test_other(launch):
    two = launch(triggerers=2, env={...})   # one of its own; ended with the session, or by two.stop()
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from include.cli.home import ROOT
from include.cli.instance import Instance, read_instance
from include.cli.leftovers import end
from include.cli.postgres import child_argv, find_free_port
from tests.e2e.receiver import Receiver, receiving
from tests.integration.gateway.simulated import SimulatorProcess, simulator_process

START_TIMEOUT = 240.0


#: Files that one xdist worker runs, since they share an instance, `instance` or `pair`; two workers have an
#: `instance`. What takes longest begins first, so that all workers end at about the same time.
GROUPS = (
    ("faults",),
    ("callbacks", "demo", "demo_timers", "timers"),
    ("billing", "demo_batch", "demo_billing", "upgrades"),
    ("up",),
    ("maintenance",),
    ("batch", "timer_faults"),
    ("demo_maintenance",),
    ("timers_mqtt",),
)


def pytest_itemcollected(item: pytest.Function) -> None:
    """Mark everything below this folder: it starts real processes, and a start alone takes half a minute."""
    item.add_marker(pytest.mark.e2e)
    item.add_marker(pytest.mark.timeout(900))


def group_of(file: str) -> int:
    """Return the place of a file's group; what is in none comes last."""
    name = Path(file).stem.removeprefix("test_")
    return next((place for place, files in enumerate(GROUPS) if name in files), len(GROUPS))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order what is below this folder by groups, after all other tests."""
    items.sort(key=lambda item: group_of(item.path.name) if item.get_closest_marker("e2e") else -1)


class Together(LoadFileScheduling):
    """Gives a file's tests to one worker, and those of files that share an instance to the same."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        place = group_of(file)
        return str(place) if place < len(GROUPS) else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Together | None:
    return Together(config, log) if config.getoption("dist") == "loadfile" else None


@dataclass
class Up:
    """A `./carillon up` process."""

    home: Path
    port: int
    env: Mapping[str, str] = field(default_factory=dict)
    root: Path = ROOT
    prefix: Sequence[str] = ()
    process: subprocess.Popen[str] | None = None
    ready_seconds: float = 0.0

    @property
    def url(self) -> str:
        """Base URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def instance(self) -> Instance:
        """What `instance.json` says now."""
        return read_instance(self.home)

    @property
    def messages(self) -> str:
        """What it wrote to standard error."""
        return self._log.read_text()

    @property
    def _log(self) -> Path:
        return self.home.with_name(f"{self.home.name}.err")

    def start(self) -> Up:
        """Start it, without waiting."""
        env = {**os.environ, "CARILLON_HOME": str(self.home), "CARILLON_PORT": str(self.port), **self.env}
        words = [*child_argv(), *self.prefix, str(self.root / "carillon"), "up", "--json"]
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                words, env=env, stdout=subprocess.PIPE, stderr=log, text=True, process_group=0, cwd="/"
            )
        return self

    def wait_ready(self, timeout: float = START_TIMEOUT) -> dict[str, Any]:
        """Return the JSON object that it prints when ready."""
        assert self.process is not None
        begin = time.monotonic()
        while not (self.home / "instance.json").exists():
            if self.process.poll() is not None or time.monotonic() - begin > timeout:
                raise AssertionError(f"not ready, exit code {self.process.poll()}:\n{self.messages}")
            time.sleep(0.05)
        assert self.process.stdout is not None
        # The file may be that of a start which was killed; the line is this one's.
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(f"not ready, exit code {self.wait_exit()}:\n{self.messages}")
        self.ready_seconds = time.monotonic() - begin
        document: dict[str, Any] = json.loads(line)
        return document

    def wait_exit(self, timeout: float = 120.0) -> int:
        """Return its exit code."""
        assert self.process is not None
        code = self.process.wait(timeout)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code

    def family(self) -> list[psutil.Process]:
        """Return it and everything it started."""
        assert self.process is not None
        me = psutil.Process(self.process.pid)
        return [me, *me.children(recursive=True)]

    def stop(self, signum: int = signal.SIGTERM) -> int:
        """End it as a user would; return its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signum)
        return self.wait_exit()

    def abandon(self) -> None:
        """Make sure that nothing of it runs, whatever state it is in."""
        if self.process is None:
            return
        if self.process.poll() is None:
            family = self.family()
            self.process.terminate()
            try:
                self.wait_exit(60)
            except subprocess.TimeoutExpired:
                end(family, patience=1)
        self.wait_exit(10)


Launcher = Callable[..., Up]


@pytest.fixture(scope="session")
def homes() -> Iterator[Path]:
    """A folder for homes that every user may enter (pytest's own is closed to others)."""
    folder = Path(tempfile.mkdtemp(prefix="carillon-e2e-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def prepare(homes: Path) -> Iterator[Launcher]:
    """Make `Up` objects that are not started yet; those that run at the end of the session are ended."""
    made: list[Up] = []

    def make(
        home: Path | None = None,
        *,
        port: int | None = None,
        schedulers: int = 1,
        triggerers: int = 1,
        env: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Up:
        counts = {"CARILLON_SCHEDULERS": str(schedulers), "CARILLON_TRIGGERERS": str(triggerers)}
        path = home or homes / f"home{len(made)}"
        for other in made:
            if other.home == path:
                other.abandon()  # a home runs once, whichever tests were selected
        up = Up(path, port or find_free_port(), {**counts, **(env or {})}, **options)
        made.append(up)
        return up

    yield make
    for up in made:
        up.abandon()


@pytest.fixture(scope="session")
def launch(prepare: Launcher) -> Launcher:
    """Start instances: `launch(triggerers=2, env={...})` returns when the instance is ready."""

    def start(*args: Any, **kwargs: Any) -> Up:
        up = prepare(*args, **kwargs).start()
        up.wait_ready()
        return up

    return start


@pytest.fixture(scope="session")
def instance(launch: Launcher) -> Iterator[Up]:
    """The instance that tests of a session share: one scheduler, one triggerer."""
    up = launch()
    yield up
    assert up.stop() == 0


@pytest.fixture(scope="session")
def gateway() -> Iterator[SimulatorProcess]:
    """The gateway of `pair`: that of `up` would come back by itself, at a moment of its choice."""
    with simulator_process() as simulator:
        yield simulator


@pytest.fixture(scope="session")
def pair(launch: Launcher, gateway: SimulatorProcess) -> Iterator[Up]:
    """Two triggerers, which share the shards of one instant, over a gateway that may be killed."""
    env = {
        "AIRFLOW_CONN_DEVICE_GATEWAY": gateway.url,
        "CARILLON_DEFINITIONS_PER_SHARD": "1000",
        # Else the first triggerer that asks takes all shards of an instant.
        "AIRFLOW__TRIGGERER__MAX_TRIGGER_TO_SELECT_PER_LOOP": "1",
    }
    up = launch(triggerers=2, env=env)
    yield up
    assert up.stop() == 0


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    """A receiver of callbacks and events, of this module alone."""
    with receiving() as receiver:
        yield receiver
