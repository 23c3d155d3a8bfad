"""What the platform does alone: devices made, changed, deleted, frozen and unfrozen by batch tasks."""

from __future__ import annotations

import json
import logging
import re

import pytest

from include.batch.runs import BatchRun
from include.batch_files.model import Contents
from include.batch_files.rows import TargetRow
from include.batch_files.service import BatchFileService
from include.devices.service import read_secret
from include.kit.clock import system_clock
from tests.batch_rows import add_task, progress, subtasks, task_row


@pytest.fixture
def devices(connection):
    """A gateway with two sub-devices, two devices, and one of another project."""
    connection.execute(
        "INSERT INTO device (device_id, project_id, product_id, node_id, name, gateway_id, status,"
        " created_at, updated_at) SELECT id, project, product, id, id, gateway, status, now(), now()"
        " FROM (VALUES"
        " ('hub', 'p1', 'hub', NULL, 'ONLINE'), ('sub-1', 'p1', 'valve', 'hub', 'OFFLINE'),"
        " ('sub-2', 'p1', 'valve', 'hub', 'OFFLINE'), ('d1', 'p1', 'valve', NULL, 'ONLINE'),"
        " ('d2', 'p1', 'valve', NULL, 'INACTIVE'), ('foreign', 'p2', 'valve', NULL, 'ONLINE')"
        ") d (id, project, product, gateway, status)"
    )


@pytest.fixture
def perform(make_engine, database, connection):
    """Run a task to its end; returns (target, status, error code, error message, output) of each sub-task."""

    async def run(task_type, *, targets=None, rows=None, **changes):
        source = None
        if rows is not None:
            async with database.transaction() as session:
                service = BatchFileService(session, "p1", "o")
                lines = [
                    f"{number}\t{json.dumps(TargetRow(**row).cells())}\n"
                    for number, row in enumerate(rows, 2)
                ]
                file = await service.store(
                    f"{system_clock():%H%M%S%f}", Contents(["device_id"], len(lines)), _Spool(lines)
                )
            source = file.file_id
        task = await add_task(
            database,
            now=system_clock(),
            task_type=task_type,
            targets=targets,
            document=None,
            document_source=source,
            **changes,
        )
        await BatchRun(await make_engine(), task.task_id, lambda line: None).fan_out(0)
        run.task = task
        return subtasks(connection, task, "target, status, error_code, error_msg, output")

    return run


class _Spool(list):
    def seek(self, place):
        assert place == 0

    def __iter__(self):
        while self:
            yield self.pop(0)


def states(connection):
    rows = connection.execute("SELECT device_id, status, gateway_id FROM device ORDER BY id").fetchall()
    return {row["device_id"]: row["status"] for row in rows}


def device(connection, device_id):
    return connection.execute("SELECT * FROM device WHERE device_id = %s", [device_id]).fetchone()


class TestCreate:
    async def test_rows_become_devices(self, perform, connection, database, caplog):
        caplog.set_level(logging.DEBUG)
        found = await perform(
            "createDevices",
            app_id="app",
            rows=[
                {"node_id": "n1", "product_id": "hub", "device_id": "my-hub", "secret": "told-secret"},
                {"node_id": "n2", "product_id": "valve", "gateway_id": "my-hub", "name": "Valve 2",
                 "tags": "site=north", "description": "two", "extension_info": '{"a": 1}', "app_id": "other"},
                {"node_id": "n3", "product_id": "valve", "fingerprint": "AB" * 20},
            ],
        )  # fmt: skip
        assert [one[:4] for one in found] == [
            ("hub_n1", "Success", None, None),
            ("valve_n2", "Success", None, None),
            ("valve_n3", "Success", None, None),
        ]
        outputs = [json.loads(one[4]) for one in found]
        drawn = outputs[1].pop("secret")
        assert re.fullmatch("[0-9a-f]{32}", drawn)
        assert outputs == [
            {"device_id": "my-hub", "app_id": "app", "secret": "told-secret"},
            {"device_id": "valve_n2", "app_id": "other"},
            {"device_id": "valve_n3", "app_id": "app", "fingerprint": "ab" * 20},
        ]
        async with database.transaction() as session:
            assert await read_secret(session, "my-hub") == "told-secret"
            assert await read_secret(session, "valve_n2") == drawn
        valve = device(connection, "valve_n2")
        assert (valve["name"], valve["gateway_id"], valve["tags"]) == ("Valve 2", "my-hub", {"site": "north"})
        assert (valve["description"], valve["extension_info"]) == ("two", {"a": 1})
        assert (valve["node_type"], valve["status"]) == ("ENDPOINT", "INACTIVE")
        assert (device(connection, "my-hub")["name"], device(connection, "my-hub")["node_type"]) == (
            "n1",
            "GATEWAY",
        )
        assert device(connection, "valve_n3")["auth_type"] == "CERTIFICATES"
        assert drawn not in caplog.text
        assert "told-secret" not in caplog.text
        stored = connection.execute(
            "SELECT string_agg(input::text, '') AS text FROM batch_subtask"
        ).fetchone()
        assert "told-secret" not in stored["text"]
        assert task_row(connection, perform.task)["status"] == "Success"

    async def test_one_that_cannot_be_made_leaves_the_others(self, perform, connection, devices):
        found = await perform(
            "createDevices",
            rows=[
                {"node_id": "d1", "product_id": "valve"},
                {"node_id": "d1", "product_id": "valve", "device_id": "another"},
                {"node_id": "new", "product_id": "valve", "device_id": "d2"},
                {"node_id": "f", "product_id": "valve", "device_id": "foreign"},
                {"node_id": "n1", "product_id": "valve", "gateway_id": "nowhere"},
                {"node_id": "n2", "product_id": "valve", "gateway_id": "sub-1"},
                {"node_id": "n3", "product_id": "valve", "gateway_id": "foreign"},
                {"node_id": "n4", "product_id": "valve", "gateway_id": "valve_n1"},
                {"node_id": "n5", "product_id": "valve", "secret": "a-secret", "fingerprint": "ab" * 20},
                {"node_id": "good", "product_id": "valve", "gateway_id": "hub"},
                {"device_id": "bare"},
            ],
        )
        assert [one[:4] for one in found] == [
            ("valve_d1", "Fail", "IOTDA.014031", "node_id: another device of the product has it"),
            ("valve_new", "Fail", "IOTDA.014115", "the device id 'd2' is taken"),
            ("valve_f", "Fail", "IOTDA.014115", "the device id 'foreign' is taken"),
            ("valve_n1", "Fail", "IOTDA.000006", "gateway_id: the project has no device 'nowhere'"),
            ("valve_n2", "Fail", "IOTDA.000006", "gateway_id: 'sub-1' is behind a gateway itself"),
            ("valve_n3", "Fail", "IOTDA.000006", "gateway_id: the project has no device 'foreign'"),
            ("valve_n4", "Fail", "IOTDA.000006", "gateway_id: the project has no device 'valve_n1'"),
            ("valve_n5", "Fail", "IOTDA.000006", "secret is for auth_type SECRET"),
            ("valve_good", "Success", None, None),
            ("row 12", "Fail", "IOTDA.000006", "node_id: is required"),
        ]
        assert [one[4] for one in found if one[1] == "Fail"] == [None] * 9
        assert device(connection, "valve_good")["gateway_id"] == "hub"
        assert progress(connection, perform.task) == {"total": 10, "success": 1, "fail": 9}
        assert task_row(connection, perform.task)["status"] == "PartialSuccess"
        again = await perform("createDevices", rows=[{"node_id": "good", "product_id": "valve"}])
        assert again[0][1:4] == ("Fail", "IOTDA.014031", "there is a device 'valve_good' already")

    async def test_thousands(self, perform, connection):
        rows = [{"node_id": f"n{number}", "product_id": "valve"} for number in range(1800)]
        rows[700] = {"node_id": "x", "product_id": "valve", "gateway_id": "nowhere"}
        await perform("createDevices", rows=rows)
        assert connection.execute("SELECT count(*) AS n FROM device").fetchone()["n"] == 1799
        assert progress(connection, perform.task) == {"total": 1800, "success": 1799, "fail": 1}


class TestUpdate:
    async def test_what_is_told_changes(self, perform, connection, database, devices):
        found = await perform(
            "updateDevices",
            rows=[
                {"device_id": "d1", "name": "North", "tags": "a=1", "secret": "new-secret"},
                {
                    "device_id": "d2",
                    "description": "two",
                    "auth_type": "CERTIFICATES",
                    "fingerprint": "cd" * 20,
                },
                {"device_id": "sub-1", "gateway_id": "d1"},
                {"device_id": "sub-2", "gateway_id": "nowhere"},
                {"device_id": "foreign", "name": "Mine"},
                {"node_id": "d1", "product_id": "valve", "name": "by node"},
            ],
        )
        missing = ("Fail", "IOTDA.014000", "there is no such device", None)
        assert found == [
            ("d1", "Success", None, None, None),
            ("d2", "Success", None, None, None),
            ("sub-1", "Success", None, None, None),
            ("sub-2", "Fail", "IOTDA.000006", "gateway_id: the project has no device 'nowhere'", None),
            ("foreign", *missing),
            ("valve_d1", *missing),
        ]
        first, second = device(connection, "d1"), device(connection, "d2")
        assert (first["name"], first["tags"], first["status"]) == ("North", {"a": "1"}, "ONLINE")
        assert (second["description"], second["fingerprint"], second["secret"]) == ("two", "cd" * 20, None)
        assert device(connection, "sub-1")["gateway_id"] == "d1"
        assert device(connection, "foreign")["name"] == "foreign"
        async with database.transaction() as session:
            assert await read_secret(session, "d1") == "new-secret"


class TestDelete:
    async def test_children_first(self, perform, connection, devices):
        found = await perform("deleteDevices", targets=["hub", "sub-1", "d1", "foreign", "nobody"])
        assert [one[:3] for one in found] == [
            ("hub", "Fail", "IOTDA.000006"),
            ("sub-1", "Success", None),
            ("d1", "Success", None),
            ("foreign", "Fail", "IOTDA.014000"),
            ("nobody", "Fail", "IOTDA.014000"),
        ]
        assert found[0][3] == "it is the gateway of other devices: delete those first"
        assert set(states(connection)) == {"hub", "sub-2", "d2", "foreign"}
        found = await perform("deleteDevices", targets=["hub", "sub-2"])
        assert [one[:2] for one in found] == [("hub", "Success"), ("sub-2", "Success")]
        assert set(states(connection)) == {"d2", "foreign"}

    async def test_one_that_went_meanwhile(self, perform, connection, database, devices, make_engine):
        task = await add_task(database, now=system_clock(), task_type="deleteDevices", targets=["d1", "d2"],
                              document=None)  # fmt: skip
        connection.execute("DELETE FROM device WHERE device_id = 'd1'")
        await BatchRun(await make_engine(), task.task_id, lambda line: None).fan_out(0)
        assert subtasks(connection, task, "target, status, error_code, error_msg") == [
            ("d1", "Fail", "IOTDA.014000", "there is no device 'd1'"),
            ("d2", "Success", None, None),
        ]


class TestFreeze:
    async def test_directly_connected_ones(self, perform, connection, devices):
        found = await perform("freezeDevices", targets=["d1", "sub-1", "hub", "d1", "foreign"])
        assert [one[:4] for one in found] == [
            ("d1", "Success", None, None),
            ("sub-1", "Fail", "IOTDA.014038", "a sub-device cannot be frozen"),
            ("hub", "Success", None, None),
            ("foreign", "Fail", "IOTDA.014000", "there is no such device"),
        ]
        frozen = {"d1", "hub"}
        assert {name for name, status in states(connection).items() if status == "FROZEN"} == frozen
        assert [one[1] for one in await perform("freezeDevices", targets=["d1"])] == ["Success"]
        found = await perform("unfreezeDevices", targets=["d1", "d2", "foreign"])
        assert [one[:4] for one in found] == [
            ("d1", "Success", None, None),
            ("d2", "Fail", "IOTDA.014040", "the device is not frozen"),
            ("foreign", "Fail", "IOTDA.014000", "there is no such device"),
        ]
        assert (states(connection)["d1"], states(connection)["d2"]) == ("ONLINE", "INACTIVE")

    async def test_of_a_file(self, perform, connection, devices):
        await perform("freezeDevices", rows=[{"device_id": "d1"}, {"device_id": "d2"}])
        assert (states(connection)["d1"], states(connection)["d2"]) == ("FROZEN", "FROZEN")
