"""What can be imported, by the name of the command's argument."""

from __future__ import annotations

from collections.abc import Mapping

from include.cli import import_devices, import_metering
from include.cli.import_rows import ImportKind

KINDS: Mapping[str, ImportKind] = {**import_metering.KINDS, **import_devices.KINDS}
