"""How much memory a process had, and how much others have while something runs."""

from __future__ import annotations

import resource
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil

EVERY_SECONDS = 0.05

#: Looking for backends means looking at all processes of the machine.
LOOK_SECONDS = 0.1


@dataclass
class Memory:
    """The most at one time, in bytes, summed over the processes.

    :ivar rss: with what they share (a database's buffers), so counted more than once
    :ivar own: without what they share
    """

    rss: int = 0
    own: int = 0
    processes: int = 0

    def note(self, sizes: list[tuple[int, int]]) -> None:
        """Take one look at all of them in: (rss, shared) of each."""
        self.rss = max(self.rss, sum(rss for rss, _ in sizes))
        self.own = max(self.own, sum(rss - shared for rss, shared in sizes))
        self.processes = max(self.processes, len(sizes))


def peak_rss_kb() -> int:
    """Return the most memory that this process had."""
    with suppress(OSError):
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    # Of a process that was forked off a large one this is the large one's.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def watching(postmaster: int, database: str, user: str) -> AbstractContextManager[Memory]:
    """Watch the backends of a database until the end of the block.

    :param postmaster: process id of the server
    """
    return _watching(partial(_backends, postmaster, f"postgres: {user} {database} "))


def watching_families(pids: Collection[int]) -> AbstractContextManager[Memory]:
    """Watch processes, with the children that they have now, until the end of the block."""
    family = [
        one for pid in pids for one in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True))
    ]
    return _watching(lambda: family)


@contextmanager
def _watching(find: Callable[[], list[psutil.Process]]) -> Iterator[Memory]:
    memory, done = Memory(), threading.Event()
    watcher = threading.Thread(target=_watch, args=(memory, done, find))
    watcher.start()
    try:
        yield memory
    finally:
        done.set()
        watcher.join()


def _watch(memory: Memory, done: threading.Event, find: Callable[[], list[psutil.Process]]) -> None:
    processes: list[psutil.Process] = []
    looked = -LOOK_SECONDS
    while not done.wait(EVERY_SECONDS):
        if time.monotonic() >= looked + LOOK_SECONDS:
            processes = find()
            looked = time.monotonic()
        memory.note([size for process in processes if (size := _size(process))])


def _backends(postmaster: int, title: str) -> list[psutil.Process]:
    found = []
    with suppress(psutil.NoSuchProcess):
        for process in psutil.Process(postmaster).children():
            with suppress(psutil.NoSuchProcess):
                if " ".join(process.cmdline()).startswith(title):
                    found.append(process)
    return found


def _size(process: psutil.Process) -> tuple[int, int] | None:
    with suppress(psutil.NoSuchProcess):
        info = process.memory_info()
        return info.rss, getattr(info, "shared", 0)
    return None
