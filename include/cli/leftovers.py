"""Ends what an instance left behind that could not end it itself (`kill -9`, power loss of a container).

A process is only touched when it is certainly ours: its id and its start time are those on record, or it
belongs to the process group of one that was, or it is the database server on our own data folder.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil

from include.cli.postgres import write_private

OUR_WORDS = ("airflow", "postgres", "supervisord", "include.", "child.py")


def record(file: Path, pids: Iterable[int]) -> None:
    """Store the processes with their start times."""
    started = {}
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            started[str(pid)] = psutil.Process(pid).create_time()
    write_private(file, json.dumps(started) + "\n")


def end_leftovers(process_file: Path, data_folder: Path) -> int:
    """End every process on record and all that descends from it; return how many there were."""
    ours = _from_record(process_file) | _database_server(data_folder)
    for process in list(ours):
        with suppress(psutil.NoSuchProcess):
            ours.update(process.children(recursive=True))
    end(ours)
    process_file.unlink(missing_ok=True)
    return len(ours)


def end(processes: Iterable[psutil.Process], patience: float = 15.0) -> None:
    """Ask the processes to end, then make them."""
    alive = [process for process in processes if process.is_running()]
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, alive = psutil.wait_procs(alive, timeout=patience)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=5)


def _from_record(process_file: Path) -> set[psutil.Process]:
    try:
        started = {int(pid): float(moment) for pid, moment in json.loads(process_file.read_text()).items()}
    except (OSError, ValueError, AttributeError):
        return set()
    found = set()
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied, ProcessLookupError):
            if process.pid in started:
                # A whole second of slack: the kernel counts start times in ticks since boot.
                same = abs(process.create_time() - started[process.pid]) < 1
            else:
                same = os.getpgid(process.pid) in started and _looks_like_ours(process)
            if same:
                found.add(process)
    return found


def _looks_like_ours(process: psutil.Process) -> bool:
    words = " ".join(process.cmdline())
    return any(word in words for word in OUR_WORDS)


def _database_server(data_folder: Path) -> set[psutil.Process]:
    try:
        pid = int((data_folder / "postmaster.pid").read_text().split("\n", 1)[0])
        process = psutil.Process(pid)
        return {process} if str(data_folder) in process.cmdline() else set()
    except (OSError, ValueError, psutil.Error):
        return set()
