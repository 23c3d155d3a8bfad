"""Triggers that run outside of a triggerer."""

from __future__ import annotations

from airflow.triggers.base import BaseTrigger


def runs_inline(trigger: BaseTrigger) -> bool:
    """Whether a trigger runs as `airflow dags test` does it: in an event loop of its own, which ends with it.

    Such a trigger closes what it opened: what is open at the end of a loop may lose its cancellation, and the
    loop would never end (python/cpython#86296).
    """
    return trigger.trigger_id is None
