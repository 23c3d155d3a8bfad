"""The last good list of active schedules, kept on disk.

A database that cannot be reached while the DAG file is parsed must not make every DAG vanish (ADR 0001).
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from include.schedules.model import Schedule

log = logging.getLogger(__name__)


def write_snapshot(path: Path, schedules: list[Schedule]) -> None:
    """Replace the snapshot in one step; a reader sees the old one or the new one."""
    rows = [{**asdict(s), "active_since": _text(s.active_since)} for s in schedules]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
            json.dump(rows, file)
        os.replace(file.name, path)
    except OSError as error:  # a missing snapshot only matters when the database is away as well
        log.warning("the snapshot of the schedules could not be written: %s", error)


def read_snapshot(path: Path) -> list[Schedule]:
    """Return the schedules of the snapshot, none where there is no readable one."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return [Schedule(**{**row, "active_since": _moment(row["active_since"])}) for row in rows]
    except (OSError, ValueError, TypeError, KeyError) as error:
        log.warning("no snapshot of the schedules to fall back on: %s", error)
        return []


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
