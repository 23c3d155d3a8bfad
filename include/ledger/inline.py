"""Triggers that run outside of a triggerer."""

from __future__ import annotations


def runs_inline(trigger_id: int | None) -> bool:
    """Whether a trigger runs as `airflow dags test` does it: in an event loop of its own, which ends with it.

    Such a trigger closes what it opened: what is open at the end of a loop may lose its cancellation, and the
    loop would never end (python/cpython#86296).

    :param trigger_id: of Airflow's row; a trigger that runs in a triggerer has one
    """
    return trigger_id is None
