"""An instance in a home that goes with it: for benchmarks, and for a demo that needs settings of its own."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import IO

from include.cli.home import ROOT, Home
from include.cli.instance import Instance, read_instance
from include.cli.postgres import child_argv, find_free_port
from include.errors import StartupError
from include.settings import get_settings

#: `up` gives up by itself after CARILLON_START_TIMEOUT_SECONDS; its database comes before that.
START_MARGIN_SECONDS = 60.0
#: How long it may take to end.
STOP_SECONDS = 120.0

#: What `include.cli.progress` writes; whatever else `up` writes may hold passwords.
_STAGE = re.compile(r"\[ *\d+\.\d s\] (.+)")


@asynccontextmanager
async def running_instance(
    environment: Mapping[str, str],
    prepare: Callable[[Home], None] = lambda _: None,
    tell: Callable[[str], None] = lambda _: None,
) -> AsyncIterator[Instance]:
    """Start `./carillon up` in a temporary home; end it and remove the home at the end.

    :param environment: beside our own
    :param prepare: what is done to the home before
    :param tell: told of each stage of the start
    :raises StartupError: it does not start
    """
    with _starting(environment, prepare) as (process, home):
        yield await _ready(process, home, tell)


@contextmanager
def _starting(
    environment: Mapping[str, str], prepare: Callable[[Home], None]
) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """Lend the process and the folder with its home and `up.log`."""
    home = Path(tempfile.mkdtemp(prefix="carillon-"))
    home.chmod(0o755)  # the database server runs as another user when we are root
    prepare(Home.open(home / "home"))
    own = {"CARILLON_HOME": str(home / "home"), "CARILLON_PORT": str(find_free_port())}
    with (home / "up.log").open("w+") as log:
        process = subprocess.Popen(
            [*child_argv(), str(ROOT / "carillon"), "up", "--json"],
            env={**os.environ, **environment, **own},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            process_group=0,
        )
        try:
            yield process, home
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(STOP_SECONDS)
            shutil.rmtree(home, ignore_errors=True)


async def _ready(process: subprocess.Popen[bytes], home: Path, tell: Callable[[str], None]) -> Instance:
    deadline = time.monotonic() + get_settings().start_timeout_seconds + START_MARGIN_SECONDS
    with (home / "up.log").open() as log:
        while not (home / "home" / "instance.json").exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise StartupError(f"the instance did not start: {(home / 'up.log').read_text()[-2000:]}")
            for stage in _stages(log):
                tell(stage)
            await asyncio.sleep(0.2)
    return read_instance(home / "home")


def _stages(log: IO[str]) -> Iterator[str]:
    """Yield the stages that were written since the last time."""
    for line in log:
        if found := _STAGE.match(line):
            yield found[1]
