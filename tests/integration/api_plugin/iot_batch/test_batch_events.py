"""What is told of a task that the vendor's SDK drives: each change of its status, signed, in order."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook

from tests.batch_rows import insert_lamps
from tests.event_rows import body, courier_at_work, headers, subscribe, until_settled
from tests.integration.api_plugin.iot_batch.iot_wire import PROJECT, insert_package
from tests.integration.kit.peers import OK, always, peer

pytestmark = pytest.mark.usefixtures("local_targets")


async def test_each_status_of_a_task_is_told(sdk, database, connection):
    insert_lamps(connection, 1, PROJECT)
    package = await insert_package(database)
    async with peer(always(OK)) as receiver, courier_at_work(database):
        _, secret = await subscribe(database, receiver.url, project=PROJECT)
        made = await sdk.create(
            app_id="space-1",
            task_name="pumps",
            task_type="softwareUpgrade",
            targets=["lamp-0"],
            need_confirm=True,
            document={"package_id": package},
        )
        await sdk.call("confirm_batch_task", task_id=made["task_id"])
        await sdk.call("stop_batch_task", task_id=made["task_id"])
        await until_settled(connection)
    told = []
    for request in receiver.requests:
        event = Webhook(secret).verify(body(request).decode(), headers(request))
        moment = datetime.strptime(event.pop("event_time"), "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        assert event.pop("event_time_ms").startswith(f"{moment:%Y-%m-%dT%H:%M:%S}.")
        assert event.pop("request_id") == headers(request)["webhook-id"]
        told.append(event)
    body_of = {"app_id": "space-1", "task_id": made["task_id"], "task_type": "softwareUpgrade"}
    assert told == [
        {
            "resource": "batchtask",
            "event": "update",
            "notify_data": {"body": {**body_of, "status": status, "status_desc": words}},
        }
        for status, words in [
            ("Waitting", ""),
            ("Processing", ""),
            ("Stopping", ""),
            ("Stopped", "1 stopped of 1"),
        ]
    ]
