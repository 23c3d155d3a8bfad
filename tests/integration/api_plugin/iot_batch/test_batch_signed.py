"""Who may call document 004: access keys and tokens, through the vendor's SDK and past it."""

from __future__ import annotations

COMMAND = {"service_id": "water", "command_name": "ON_OFF", "paras": {"value": "ON"}}


async def test_try(sdk):
    made = await sdk.create(
        task_name="testname", task_type="createCommands", targets=["d1"], document=COMMAND
    )
    print(made)
    print(await sdk.call("list_batch_tasks", task_type="createCommands"))
    print(await sdk.call("show_batch_task", task_id=made["task_id"]))
    print(await sdk.refused("list_batch_tasks"))
    print(await sdk.call("stop_batch_task", task_id=made["task_id"]))
    print(await sdk.refused("stop_batch_task", task_id=made["task_id"]))
    print(await sdk.call("delete_batch_task", task_id=made["task_id"]))
    print(await sdk.refused("show_batch_task", task_id=made["task_id"]))
