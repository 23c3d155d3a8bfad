"""The vendor's SDK on a whole instance: Airflow underneath, devices that push what they say."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkiotda import v5 as iotda

from tests.e2e.client import Client
from tests.e2e.conftest import Up
from tests.e2e.receiver import Receiver

PROJECT = "fedcba98765432100123456789abcdef"
PUMPS = [f"e2e-pump-{number}" for number in range(12)]
DONE = ("Success", "Fail", "PartialSuccess", "Stopped")


@pytest.fixture
def client(instance: Up, receiver: Receiver) -> Client:
    return Client(instance, receiver)


@pytest.fixture
def sdk(client: Client) -> Iterator[iotda.IoTDAClient]:
    token = client.command(
        *("token", "create", "--name", "sdk", "--apis", "iot", "--projects", PROJECT, "--ak-sk", "--json")
    )
    credentials = BasicCredentials(token["ak"], token["sk"], PROJECT)
    builder = iotda.IoTDAClient.new_builder().with_credentials(credentials).with_endpoint(client.up.url)
    with closing(builder.build()) as made:
        yield made


def simulator(up: Up, method: str, path: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{up.instance.gateway_url}/_admin/{path}", data, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def ended(sdk: iotda.IoTDAClient, task_id: str, seconds: float = 120.0) -> Any:
    """Return the task as it is shown once it has ended."""
    deadline = time.monotonic() + seconds
    while True:
        shown = sdk.show_batch_task(iotda.ShowBatchTaskRequest(task_id=task_id, limit=50))
        if shown.batchtask.status in DONE:
            return shown
        assert time.monotonic() < deadline, shown
        time.sleep(0.5)


def create(sdk: iotda.IoTDAClient, **fields: Any) -> str:
    body = iotda.CreateBatchTask(task_name="pumps", targets=PUMPS, **fields)
    return str(sdk.create_batch_task(iotda.CreateBatchTaskRequest(body=body)).task_id)


def listed(sdk: iotda.IoTDAClient, task_type: str) -> dict[str, str]:
    """Return the status of each task of a type."""
    answer = sdk.list_batch_tasks(iotda.ListBatchTasksRequest(task_type=task_type, limit=50))
    assert answer.page.count == len(answer.batchtasks)
    return {task.task_id: task.status for task in answer.batchtasks}


def retried(sdk: iotda.IoTDAClient, task_id: str, failed: list[str]) -> None:
    """Retry what failed of a task and wait until all has succeeded."""
    sdk.retry_batch_task(
        iotda.RetryBatchTaskRequest(task_id=task_id, body=iotda.BatchTargets(targets=failed))
    )
    deadline = time.monotonic() + 120
    while ended(sdk, task_id).batchtask.status != "Success":
        assert time.monotonic() < deadline
        time.sleep(0.5)


def stopped_and_deleted(sdk: iotda.IoTDAClient, task_type: str, finished: str, waiting: str) -> None:
    """Stop a task that waits, then delete it and one that has finished; none is listed afterwards."""
    assert listed(sdk, task_type).keys() == {finished, waiting}
    sdk.stop_batch_task(iotda.StopBatchTaskRequest(task_id=waiting, body=iotda.BatchTargets()))
    assert {one.status for one in ended(sdk, waiting).task_details} == {"Stopped"}
    assert listed(sdk, task_type) == {finished: "Success", waiting: "Stopped"}
    for task_id in (finished, waiting):
        sdk.delete_batch_task(iotda.DeleteBatchTaskRequest(task_id=task_id))
    assert listed(sdk, task_type) == {}


@pytest.fixture
def pumps(client: Client) -> Iterator[None]:
    """The pumps, all online; no faults afterwards."""
    common = {"product_id": "pump", "project_id": PROJECT, "status": "ONLINE"}
    items = [{"device_id": pump, "node_id": pump, "name": pump, **common} for pump in PUMPS]
    client.own("POST", "/devices/bulk", json={"items": items})
    yield
    simulator(client.up, "DELETE", "faults")


@pytest.mark.usefixtures("pumps")
def test_the_sdk_sends_commands_from_create_to_delete(
    client: Client, sdk: iotda.IoTDAClient, receiver: Receiver
) -> None:
    path = "/ok/batch-events"
    client.own(
        "POST",
        "/event-subscriptions",
        json={"project_id": PROJECT, "url": receiver.url(path), "resources": ["batchtask"]},
    )
    simulator(client.up, "PUT", "faults", {"offline": PUMPS[:3]})
    command = {"service_id": "pump", "command_name": "run", "paras": {"on": True}}
    task_id = create(sdk, task_type="createCommands", document=command)
    shown = ended(sdk, task_id)
    failed = {one.target: one.error.error_code for one in shown.task_details if one.status == "Fail"}
    assert failed == dict.fromkeys(PUMPS[:3], "IOTDA.014016")
    simulator(client.up, "DELETE", "faults")
    retried(sdk, task_id, list(failed))
    tomorrow = f"{datetime.now(UTC) + timedelta(days=1):%Y%m%dT%H%M%SZ}"
    policy = iotda.TaskPolicy(schedule_time=tomorrow)
    waiting = create(sdk, task_type="createCommands", document=command, task_policy=policy)
    stopped_and_deleted(sdk, "createCommands", task_id, waiting)

    def told() -> list[str]:
        bodies = [json.loads(hit.body)["notify_data"]["body"] for hit in receiver.of(path)]
        return [body["status"] for body in bodies if body["task_id"] == task_id]

    client.wait("the end is told", lambda: told()[-1:] == ["Success"])
    assert told() == ["Processing", "PartialSuccess", "Processing", "Success"]


@pytest.mark.usefixtures("pumps")
def test_the_sdk_upgrades_pumps_from_create_to_delete(client: Client, sdk: iotda.IoTDAClient) -> None:
    simulator(client.up, "PUT", "faults", {"ota": {"seconds": 1, "reboot": 0.5, "results": {"10": 0.3}}})
    location = iotda.ObsLocation(region_name="local", bucket_name="pumps", object_key="pump.bin")
    package = sdk.create_ota_package(
        iotda.CreateOtaPackageRequest(
            body=iotda.CreateOtaPackage(
                app_id="pumps",
                package_type="firmwarePackage",
                product_id="pump",
                version="2.0.0",
                file_location=iotda.FileLocation(obs_location=location),
            )
        )
    )
    document = {"package_ids": [package.package_id]}
    task_id = create(sdk, task_type="firmwareUpgrade", document=document)
    shown = ended(sdk, task_id)
    failed = [one.target for one in shown.task_details if one.status == "Fail"]
    assert 0 < len(failed) < len(PUMPS)
    assert shown.batchtask.status == "PartialSuccess"
    assert {one.error.error_code for one in shown.task_details if one.status == "Fail"} == {"OTA.110"}

    simulator(client.up, "PUT", "faults", {"ota": {"seconds": 0.2}})
    retried(sdk, task_id, failed)
    versions = client.own("GET", f"/devices?project={PROJECT}&product=pump&limit=50")["items"]
    assert {device["fw_version"] for device in versions} == {"2.0.0"}
    push = simulator(client.up, "GET", "push")
    assert (push["refused"], push["lost"]) == (0, 0)
    waiting = create(sdk, task_type="firmwareUpgrade", document=document, need_confirm=True)
    stopped_and_deleted(sdk, "firmwareUpgrade", task_id, waiting)
    sdk.delete_ota_package(iotda.DeleteOtaPackageRequest(package_id=package.package_id))
