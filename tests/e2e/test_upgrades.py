"""Upgrades on a whole instance: the vendor's SDK, Airflow underneath, devices that push what they say."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
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


def test_the_sdk_upgrades_pumps_from_create_to_delete(client: Client, sdk: iotda.IoTDAClient) -> None:
    common = {"product_id": "pump", "project_id": PROJECT, "status": "ONLINE"}
    items = [{"device_id": pump, "node_id": pump, "name": pump, **common} for pump in PUMPS]
    client.own("POST", "/devices/bulk", json={"items": items})
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
    task = sdk.create_batch_task(
        iotda.CreateBatchTaskRequest(
            body=iotda.CreateBatchTask(
                task_name="pumps",
                task_type="firmwareUpgrade",
                targets=PUMPS,
                document={"package_ids": [package.package_id]},
            )
        )
    )
    shown = ended(sdk, task.task_id)
    failed = [one.target for one in shown.task_details if one.status == "Fail"]
    assert 0 < len(failed) < len(PUMPS)
    assert shown.batchtask.status == "PartialSuccess"
    assert {one.error.error_code for one in shown.task_details if one.status == "Fail"} == {"OTA.110"}

    simulator(client.up, "PUT", "faults", {"ota": {"seconds": 0.2}})
    sdk.retry_batch_task(
        iotda.RetryBatchTaskRequest(task_id=task.task_id, body=iotda.BatchTargets(targets=failed))
    )
    deadline = time.monotonic() + 120
    while (shown := ended(sdk, task.task_id)).batchtask.status != "Success":
        assert time.monotonic() < deadline
        time.sleep(0.5)
    versions = client.own("GET", f"/devices?project={PROJECT}&product=pump&limit=50")["items"]
    assert {device["fw_version"] for device in versions} == {"2.0.0"}
    push = simulator(client.up, "GET", "push")
    assert (push["refused"], push["lost"]) == (0, 0)
    sdk.delete_batch_task(iotda.DeleteBatchTaskRequest(task_id=task.task_id))
    sdk.delete_ota_package(iotda.DeleteOtaPackageRequest(package_id=package.package_id))
