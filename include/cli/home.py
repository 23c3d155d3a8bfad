"""The folder that holds the state of one instance (`CARILLON_HOME`): its paths, its lock, its secrets."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from include.cli.postgres import write_private
from include.errors import StartupError

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Secrets:
    """What is generated at the first start and kept."""

    admin_password: str
    secret_key: str
    fernet_key: str
    jwt_secret: str
    api_secret_key: str

    @classmethod
    def generate(cls) -> Secrets:
        """Draw all of them."""
        return cls(
            admin_password=secrets.token_urlsafe(12),
            secret_key=secrets.token_urlsafe(48),
            # Fernet wants exactly 32 bytes in URL-safe base64, padding included.
            fernet_key=base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            jwt_secret=secrets.token_urlsafe(64),
            api_secret_key=secrets.token_urlsafe(32),
        )


@dataclass(frozen=True, slots=True)
class Home:
    """Paths inside `CARILLON_HOME`."""

    path: Path

    @classmethod
    def open(cls, path: Path) -> Home:
        """Make the folder when it is missing; raise `StartupError` when it cannot be written."""
        home = cls(path.expanduser().absolute())
        try:
            # Others may pass through to what belongs to the database server's user, and read nothing.
            home.path.mkdir(mode=0o711, parents=True, exist_ok=True)
            for folder in (home.logs, home.airflow):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            probe = home.path / f".probe{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise StartupError(
                f"the folder for Carillon's state, {home.path}, cannot be written ({error.strerror}):"
                " set CARILLON_HOME to a folder that can"
            ) from error
        return home

    @property
    def logs(self) -> Path:
        """Folder of one log file per process."""
        return self.path / "logs"

    @property
    def airflow(self) -> Path:
        """AIRFLOW_HOME."""
        return self.path / "airflow"

    @property
    def postgres(self) -> Path:
        """Folder of the database server."""
        return self.path / "postgres"

    @property
    def simulator_token(self) -> Path:
        """The token with which the device simulator tells us what its devices say."""
        return self.path / "simulator.token"

    @property
    def instance_file(self) -> Path:
        """What other commands read to find the running instance; there only while it is ready."""
        return self.path / "instance.json"

    @property
    def process_file(self) -> Path:
        """Record of every process started, for the next start to end what a killed one left."""
        return self.path / "processes.json"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the home for this process; raise `StartupError` when another one holds it."""
        with (self.path / "lock").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                raise StartupError(self._held_by(file.read().strip())) from None
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield
            file.truncate(0)

    def _held_by(self, pid: str) -> str:
        try:
            url = json.loads(self.instance_file.read_text())["url"]
        except (OSError, ValueError, KeyError):
            url = "not ready yet"
        return (
            f"an instance already runs on {self.path} (process {pid or 'unknown'}, {url}):"
            " stop it, or set CARILLON_HOME and CARILLON_PORT for a second one"
        )

    def secrets(self) -> Secrets:
        """Return the secrets of this instance, drawn at the first call ever."""
        file = self.path / "secrets.json"
        try:
            stored = json.loads(file.read_text())
            return Secrets(**{field.name: stored[field.name] for field in fields(Secrets)})
        except FileNotFoundError:
            drawn = Secrets.generate()
            write_private(file, json.dumps(asdict(drawn), indent=1) + "\n")
            return drawn
        except (ValueError, KeyError, TypeError) as error:
            raise StartupError(
                f"{file} cannot be read: put its backup back, or remove {self.path} to begin anew"
            ) from error
