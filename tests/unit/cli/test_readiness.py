"""When an instance counts as ready."""

from __future__ import annotations

from typing import Any

from include.cli.readiness import unhealthy

AT = 1_800_000_000.0


def document(**changes: dict[str, Any]) -> dict[str, Any]:
    beat = "2027-01-15T08:00:01+00:00"  # one second after AT
    return {
        "metadatabase": {"status": "healthy"},
        "scheduler": {"status": "healthy", "latest_scheduler_heartbeat": beat},
        "dag_processor": {"status": "healthy", "latest_dag_processor_heartbeat": beat},
        "triggerer": {"status": "healthy", "latest_triggerer_heartbeat": beat},
        **changes,
    }


def test_all_well() -> None:
    assert unhealthy(document(), AT) == []


def test_no_answer() -> None:
    assert unhealthy(None, AT) == ["api-server"]


def test_a_heartbeat_of_the_run_before_does_not_count() -> None:
    old = {"status": "healthy", "latest_scheduler_heartbeat": "2027-01-15T07:59:59+00:00"}
    assert unhealthy(document(scheduler=old), AT) == ["scheduler"]


def test_never_started() -> None:
    never = {"status": None, "latest_triggerer_heartbeat": None}
    assert unhealthy(document(triggerer=never, metadatabase={"status": "unhealthy"}), AT) == [
        "metadatabase",
        "triggerer",
    ]
