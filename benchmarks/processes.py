"""The processes of a benchmark: the receiver, the peers, what an instance consists of."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

import psutil

from include.cli.home import ROOT
from include.cli.instance import Instance
from include.cli.postgres import child_argv

#: How long a process of ours may take to end, on a machine that has much else to do.
END_SECONDS = 60.0


def receiver() -> AbstractContextManager[int]:
    """Run the receiver; lend its port."""
    return serving("benchmarks.receiver")


@contextmanager
def serving(module: str, *words: str, environment: Mapping[str, str] | None = None) -> Iterator[int]:
    """Run a module that says its port and stays until its standard input ends; lend the port.

    :param environment: beside our own
    """
    process = subprocess.Popen(
        [*child_argv(), sys.executable, "-m", module, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.stdin.close()
        try:
            process.wait(END_SECONDS)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


async def run_peer(module: str, way: str, count: int, port: int) -> float:
    """Run a peer in a process of its own, to its end; return the instant that it chose when it was ready."""
    return float(await ask_peer(module, way, count, port))


async def ask_peer(module: str, way: str, count: int, port: int, *more: object) -> str:
    """Run a peer in a process of its own, to its end; return what it said.

    :param more: further words of its command line
    :raises RuntimeError: it failed
    """
    argv = [sys.executable, "-m", f"benchmarks.peers.{module}", way, str(count), str(port), *map(str, more)]
    process = await asyncio.create_subprocess_exec(
        *child_argv(), *argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    said, complaint = await process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"{module} {way} failed: {complaint.decode(errors='replace')[-2000:]}")
    return said.decode()


def cpu_seconds(instance: Instance) -> dict[str, float]:
    """Return the CPU time so far of each of an instance's processes by name, with all below it."""
    return {
        name: sum(_seconds(process) for process in _family(pid)) for name, pid in instance.processes.items()
    }


def count_processes(instance: Instance) -> int:
    """Return how many processes an instance has."""
    return len(_family(instance.pid))


def _family(pid: int) -> list[psutil.Process]:
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


def _seconds(process: psutil.Process) -> float:
    """Return the CPU time of a process and of those of its children that have ended (parses, for one)."""
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)
