"""Run a program so that it ends with its parent; as another user when asked.

    python -I -S child.py [--user=UID:GID] [--death-signal=NUMBER] [--adopting] -- program argument …

It replaces itself by the program, so the pid stays. It is run by path with `-I -S` and imports the standard
library only: it stands before every process that `./carillon up` starts and must cost nothing.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def become(user: str) -> None:
    """Drop from root to `uid:gid`, for good."""
    uid, gid = (int(part) for part in user.split(":"))
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


def die_with_parent(parent: int, death_signal: int) -> None:
    """Ask the kernel for a signal when the parent ends, even by SIGKILL.

    Linux only; elsewhere the next start ends what was left.
    """
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(143)  # it ended before the request was made


def adopt_orphans() -> None:
    """Have descendants whose parent ends become our children, so that they can be found. Linux only."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def main(argv: list[str]) -> None:
    """Set the process up and become the program."""
    parent = os.getppid()
    split = argv.index("--")
    options = {name: value for name, _, value in (option.partition("=") for option in argv[:split])}
    program = argv[split + 1 :]
    if user := options.get("--user"):
        become(user)  # before die_with_parent: a change of user clears the request
    die_with_parent(parent, int(options.get("--death-signal", signal.SIGTERM)))
    if "--adopting" in options:
        adopt_orphans()
    try:
        os.execvp(program[0], program)
    except OSError as error:
        sys.stderr.write(f"{program[0]}: {error.strerror}\n")
        sys.exit(127)


if __name__ == "__main__":
    main(sys.argv[1:])
