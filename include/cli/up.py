"""`./carillon up`: set everything up, run it, end it."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Annotated

import typer

from include.cli.home import Home
from include.cli.launch import Launch
from include.cli.panel import print_panel
from include.cli.progress import Progress
from include.errors import StartupError
from include.settings import get_settings

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequested(BaseException):
    """A signal asked for the end; no `Exception`, so that nobody takes it for a failure on the way out."""

    def __init__(self, signum: int) -> None:
        self.signum = signum
        super().__init__(signum)


def up(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object when ready, and go on.")
    ] = False,
) -> int:
    """Set everything up and run it: PostgreSQL, Airflow, a device simulator. Ctrl-C or SIGTERM ends it."""
    settings = get_settings()
    home = Home.open(settings.home)
    with home.lock():
        try:
            with signals_stop():
                run(Launch(home, settings, Progress()), as_json=as_json)
        except OSError as error:
            # A full disk, or a folder in the home that belongs to somebody else since an earlier start.
            raise StartupError(f"{error}: see {home.logs}, mend it and start again") from error
        except StopRequested as stop:
            # SIGTERM is the ordinary end of a service; Ctrl-C is an interruption, as in every program.
            return 130 if stop.signum == signal.SIGINT else 0
    return 0


def run(launch: Launch, *, as_json: bool) -> None:
    """Bring it up, say so, and stay until a signal comes."""
    with launch.running() as instance:
        if as_json:
            typer.echo(instance.as_json())
        else:
            print_panel(instance, launch.environment, launch.progress.elapsed)
        sys.stdout.flush()
        launch.watch(instance)


@contextmanager
def signals_stop() -> Iterator[None]:
    """Turn the first signal into `StopRequested`; let later ones pass, so that the clean-up is done whole."""

    def stop(signum: int, frame: FrameType | None) -> None:
        for each in STOP_SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        raise StopRequested(signum)

    before = {each: signal.signal(each, stop) for each in STOP_SIGNALS}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
