"""The clock of maintenance, which can be made to run fast for trials."""

from __future__ import annotations

from datetime import datetime

from include.kit.clock import system_clock
from include.settings import get_settings


def maintenance_clock() -> datetime:
    """Return the present moment of maintenance in UTC.

    It is the machine's, unless `CARILLON_MAINTENANCE_SPEED` says otherwise: then so many seconds pass in a
    second, counted from `CARILLON_MAINTENANCE_EPOCH`.
    """
    settings = get_settings()
    now = system_clock()
    if settings.maintenance_epoch is None or settings.maintenance_speed == 1:
        return now
    return settings.maintenance_epoch + (now - settings.maintenance_epoch) * settings.maintenance_speed
