"""Fan-out of commands over the simulator, in one process."""

from __future__ import annotations

from tests.batch_rows import lamps, subtasks
from tests.integration.batch.conftest import Bench


async def test_commands_reach_every_device_once(bench: Bench) -> None:
    task = await bench.add(300)
    summary = await bench.fan_out(task)
    assert bench.status(task) == "Success"
    assert bench.progress(task) == {"total": 300, "success": 300}
    assert (summary.performed, summary.succeeded, summary.task["status"]) == (300, 300, "Success")
    received = bench.simulator.admin("GET", "received")
    assert sorted(received) == sorted(lamps(300))
    ids = dict(subtasks(bench.connection, task, "target, id"))
    assert all(seen == {f"{task.task_id}-{ids[name]}-1": 1} for name, seen in received.items())
    assert '"result_code":0' in subtasks(bench.connection, task, "output")[0]
    assert "Success: 300 total, 300 success" in bench.lines[-1]


async def test_what_goes_wrong_is_told_with_its_code(bench: Bench) -> None:
    task = await bench.add(5, targets=lamps(6))
    bench.connection.execute("DELETE FROM device WHERE device_id = 'lamp-0'")
    bench.connection.execute(
        "UPDATE device SET status = 'FROZEN', status_before_freeze = 'ONLINE' WHERE device_id = 'lamp-1'"
    )
    bench.simulator.faults(offline=["lamp-2"], unknown=["lamp-3"])
    await bench.fan_out(task)
    columns = "target, status, error_code, attempt"
    assert subtasks(bench.connection, task, columns) == [
        ("lamp-0", "Removed", "IOTDA.014000", 1),
        ("lamp-1", "Fail", "CARILLON.0102", 1),
        ("lamp-2", "Fail", "IOTDA.014016", 1),
        ("lamp-3", "Fail", "IOTDA.014000", 1),
        ("lamp-4", "Success", None, 1),
        ("lamp-5", "Fail", "IOTDA.014000", 0),
    ]
    assert bench.status(task) == "PartialSuccess"
    assert bench.counters()["executed"] == 1
