"""/v5/iot/{project_id}/devices, /device-group and /tags by the vendor's SDK."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from huaweicloudsdkiotda import v5 as iotda

from include.devices.service import mark_online, read_secret
from tests.builders import make_token
from tests.integration.api_plugin.iot_batch.iot_wire import PROJECT

BODY = {"node_id": "n1", "product_id": "valve"}
TIME = re.compile(r"\d{8}T\d{6}Z")


async def add(sdk, **fields):
    return await sdk.call("add_device", body=iotda.AddDevice(**{**BODY, **fields}))


async def refused(sdk, **fields):
    return await sdk.refused("add_device", body=iotda.AddDevice(**{**BODY, **fields}))


@pytest.fixture
async def raw(url, database):
    """A client that sends what the SDK would not."""
    headers = {"X-Auth-Token": await make_token(database, projects=[PROJECT])}
    async with httpx.AsyncClient(base_url=f"{url}/v5/iot/{PROJECT}", headers=headers) as client:
        yield client


class TestAdd:
    async def test_the_least(self, sdk, database):
        made = await add(sdk)
        secret = made["auth_info"].pop("secret")
        assert re.fullmatch("[0-9a-f]{32}", secret)
        assert TIME.fullmatch(made.pop("create_time"))
        assert made == {
            "device_id": "valve_n1",
            "node_id": "n1",
            "gateway_id": "valve_n1",
            "device_name": "n1",
            "node_type": "GATEWAY",
            "auth_info": {"auth_type": "SECRET", "secure_access": True, "timeout": 0},
            "product_id": "valve",
            "status": "INACTIVE",
            "tags": [],
        }
        async with database.transaction() as session:
            assert await read_secret(session, "valve_n1") == secret
        shown = await sdk.call("show_device", device_id="valve_n1")
        assert shown == {**made, "create_time": shown["create_time"]}

    async def test_everything(self, sdk, database):
        await add(sdk, node_id="hub", product_id="hub")
        made = await add(
            sdk,
            device_id="my-id",
            device_name="阀门一号",
            auth_info=iotda.AuthInfo(
                auth_type="SECRET", secret="told-secret", secure_access=False, timeout=0
            ),
            description="two\nlines",
            gateway_id="hub_hub",
            app_id="app",
            extension_info={"a": [1, {"b": None}]},
            shadow=[iotda.InitialDesired(service_id="valve", desired={"open": True})],
        )
        assert TIME.fullmatch(made.pop("create_time"))
        assert made == {
            "app_id": "app",
            "device_id": "my-id",
            "node_id": "n1",
            "gateway_id": "hub_hub",
            "device_name": "阀门一号",
            "node_type": "ENDPOINT",
            "description": "two\nlines",
            "auth_info": {
                "auth_type": "SECRET",
                "secret": "told-secret",
                "secure_access": False,
                "timeout": 0,
            },
            "product_id": "valve",
            "status": "INACTIVE",
            "tags": [],
            "extension_info": {"a": [1, {}]},
        }
        [service] = (await sdk.call("show_device_shadow", device_id="my-id"))["shadow"]
        assert service["desired"]["properties"] == {"open": True}
        async with database.transaction() as session:
            await mark_online(session, ["my-id"], datetime(2026, 11, 22, 2, 0, 0, 123_456, tzinfo=UTC))
        shown = await sdk.call("show_device", device_id="my-id")
        assert shown["status"] == "ONLINE"
        assert shown["active_time"] == shown["connection_status_update_time"] == "2026-11-22T02:00:00.123Z"

    async def test_a_certificate(self, sdk):
        made = await add(sdk, auth_info=iotda.AuthInfo(auth_type="CERTIFICATES", fingerprint="AB" * 32))
        expected = {
            "auth_type": "CERTIFICATES",
            "fingerprint": "ab" * 32,
            "secure_access": True,
            "timeout": 0,
        }
        assert made["auth_info"] == expected

    async def test_what_is_there_already(self, sdk, sdk_of, database):
        await add(sdk)
        assert await refused(sdk) == (400, "IOTDA.014031", "there is a device 'valve_n1' already")
        assert (await refused(sdk, device_id="other"))[:2] == (400, "IOTDA.014031")
        assert (await refused(sdk, node_id="n2", device_id="valve_n1"))[:2] == (400, "IOTDA.014115")
        # Device ids are unique in the instance: whose it is, nobody is told.
        elsewhere = sdk_of(token=await make_token(database, projects=["p2"]), project="p2")
        assert (await refused(elsewhere))[:2] == (400, "IOTDA.014115")
        assert (await refused(sdk, node_id="n2", gateway_id="nobody"))[:2] == (400, "IOTDA.000006")

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"device_id": "d" * 129}, "device_id"),
            ({"device_id": "a/b"}, "device_id"),
            ({"node_id": "n" * 65}, "node_id"),
            ({"node_id": "a b"}, "node_id"),
            ({"node_id": None}, "node_id"),
            ({"product_id": "p" * 37}, "product_id"),
            ({"product_id": None}, "product_id"),
            ({"device_name": "n" * 257}, "device_name"),
            ({"description": "d" * 2049}, "description"),
            ({"gateway_id": "g" * 129}, "gateway_id"),
            ({"app_id": "a" * 37}, "app_id"),
            ({"extension_info": {"a": "x" * 1017}}, "extension_info"),
            ({"auth_info": {"secret": "1234567"}}, "auth_info.secret"),
            ({"auth_info": {"secret": "s" * 33}}, "auth_info.secret"),
            ({"auth_info": {"auth_type": "CERTIFICATES", "fingerprint": "a" * 41}}, "auth_info.fingerprint"),
            ({"auth_info": {"auth_type": "NONE"}}, "auth_info.auth_type"),
            ({"auth_info": {"timeout": 60}}, "auth_info.timeout"),
            ({"auth_info": {"auth_type": "CERTIFICATES", "secret": "a-secret"}}, "secret is for"),
            ({"shadow": [{"service_id": "s" * 33, "desired": {}}]}, "shadow.0.service_id"),
            ({"shadow": [{"service_id": "s", "desired": {"a.b": 1}}]}, "shadow.0.desired"),
            ({"colour": "red"}, "colour"),
        ],
    )
    async def test_each_limit_crossed_by_one(self, raw, changes, field):
        answer = await raw.post("/devices", json={**BODY, **changes})
        assert (answer.status_code, answer.json()["error_code"]) == (400, "IOTDA.000006")
        assert answer.json()["error_msg"].startswith(field)

    async def test_at_the_limits(self, raw):
        body = {
            "device_id": "d" * 128,
            "node_id": "n" * 64,
            "product_id": "p" * 36,
            "device_name": "n" * 256,
            "description": "d" * 2048,
            "app_id": "a" * 36,
            "extension_info": {"a": "x" * 1016},
            "auth_info": {"secret": "s" * 32},
        }
        assert (await raw.post("/devices", json=body)).status_code == 201


class TestChange:
    async def test_what_is_told(self, sdk, raw):
        await add(sdk, description="old", extension_info={"a": 1})
        info = iotda.AuthInfoWithoutSecret(secure_access=False, timeout=0)
        body = iotda.UpdateDevice(device_name="new", extension_info={"b": 2}, auth_info=info)
        changed = await sdk.call("update_device", device_id="valve_n1", body=body)
        assert (changed["device_name"], changed["description"]) == ("new", "old")
        assert (changed["extension_info"], changed["auth_info"]["secure_access"]) == ({"b": 2}, False)
        answer = await raw.put("/devices/valve_n1", json={"device_name": "n" * 257})
        assert answer.json()["error_code"] == "IOTDA.000006"
        missing = await sdk.refused("update_device", device_id="nobody", body=body)
        assert missing == (404, "IOTDA.014000", "there is no device 'nobody'")

    async def test_delete(self, sdk):
        await add(sdk, node_id="hub", product_id="hub")
        await add(sdk, gateway_id="hub_hub")
        status, code, message = await sdk.refused("delete_device", device_id="hub_hub")
        assert (status, code) == (400, "IOTDA.000006")
        assert message == "it is the gateway of other devices: delete those first"
        for device_id in ("valve_n1", "hub_hub"):
            assert await sdk.call("delete_device", device_id=device_id) is None
        assert (await sdk.refused("show_device", device_id="hub_hub"))[:2] == (404, "IOTDA.014000")
        assert (await sdk.refused("delete_device", device_id="hub_hub"))[:2] == (404, "IOTDA.014000")

    async def test_freeze(self, sdk):
        await add(sdk, node_id="hub", product_id="hub")
        await add(sdk, gateway_id="hub_hub")
        assert await sdk.call("freeze_device", device_id="hub_hub") is None
        assert (await sdk.call("show_device", device_id="hub_hub"))["status"] == "FROZEN"
        assert await sdk.call("freeze_device", device_id="hub_hub") is None
        assert (await sdk.refused("freeze_device", device_id="valve_n1"))[:2] == (403, "IOTDA.014038")
        assert await sdk.call("unfreeze_device", device_id="hub_hub") is None
        assert (await sdk.call("show_device", device_id="hub_hub"))["status"] == "INACTIVE"
        assert (await sdk.refused("unfreeze_device", device_id="hub_hub"))[:2] == (403, "IOTDA.014040")
        for call in ("freeze_device", "unfreeze_device"):
            assert (await sdk.refused(call, device_id="nobody"))[:2] == (404, "IOTDA.014000")

    async def test_tags(self, sdk, raw):
        await add(sdk)

        async def tags():
            found = (await sdk.call("show_device", device_id="valve_n1"))["tags"]
            return {one["tag_key"]: one["tag_value"] for one in found}

        def bind(**told):
            pairs = [iotda.TagV5DTO(tag_key=key, tag_value=value) for key, value in told.items()]
            return iotda.BindTagsDTO(resource_type="device", resource_id="valve_n1", tags=pairs)

        def unbind(*keys):
            return iotda.UnbindTagsDTO(resource_type="device", resource_id="valve_n1", tag_keys=list(keys))

        await sdk.call("tag_device", body=bind(site="north", floor="3"))
        await sdk.call("tag_device", body=bind(floor="4"))
        assert await tags() == {"site": "north", "floor": "4"}
        await sdk.call("untag_device", body=unbind("site"))
        assert await tags() == {"floor": "4"}
        assert (await sdk.refused("untag_device", body=unbind("site")))[:2] == (400, "IOTDA.000006")
        too_many = bind(**{f"k{number}": "v" for number in range(11)})
        assert (await sdk.refused("tag_device", body=too_many))[:2] == (400, "IOTDA.000006")
        assert (await sdk.refused("tag_device", body=bind(k="v" * 129)))[:2] == (400, "IOTDA.000006")

    async def test_a_device_of_another_project(self, sdk, sdk_of, database):
        other = sdk_of(token=await make_token(database, projects=["p2"]), project="p2")
        await add(other)
        assert (await sdk.call("list_devices"))["devices"] == []
        body = iotda.UpdateDevice(device_name="mine")
        for call, fields in (
            ("show_device", {}),
            ("update_device", {"body": body}),
            ("delete_device", {}),
            ("freeze_device", {}),
            ("unfreeze_device", {}),
            ("show_device_shadow", {}),
            ("list_async_commands", {}),
            ("list_async_history_commands", {}),
            ("count_async_history_commands", {}),
            ("list_device_messages", {}),
        ):
            answer = await sdk.refused(call, device_id="valve_n1", **fields)
            assert answer == (404, "IOTDA.014000", "there is no device 'valve_n1'")
        foreign = sdk_of(token=await make_token(database, projects=["p2"]))
        assert (await foreign.refused("list_devices"))[:2] == (403, "IOTDA.000022")


class TestList:
    @pytest.fixture
    async def devices(self, sdk):
        await add(sdk, node_id="hub", product_id="hub", device_name="Hub", app_id="app")
        for number in range(12):
            gateway = "hub_hub" if number < 3 else None
            await add(sdk, node_id=f"n{number}", device_name=f"valve {number % 5}", gateway_id=gateway)

    async def test_pages(self, sdk, devices):
        first = await sdk.call("list_devices")
        names = [one["node_id"] for one in first["devices"]]
        assert names == [f"n{number}" for number in range(11, 1, -1)]
        assert first["page"]["count"] == 13
        assert re.fullmatch("[0-9a-f]{24}", first["page"]["marker"])
        second = await sdk.call("list_devices", marker=first["page"]["marker"], limit=2)
        assert [one["node_id"] for one in second["devices"]] == ["n1", "n0"]
        third = await sdk.call("list_devices", marker=first["page"]["marker"], offset=2)
        assert [one["node_id"] for one in third["devices"]] == ["hub"]
        assert third["devices"] == [
            {
                "app_id": "app",
                "device_id": "hub_hub",
                "node_id": "hub",
                "gateway_id": "hub_hub",
                "device_name": "Hub",
                "node_type": "GATEWAY",
                "product_id": "hub",
                "status": "INACTIVE",
                "tags": [],
            }
        ]
        empty = await sdk.call("list_devices", marker="0" * 24)
        assert empty == {"devices": [], "page": {"count": 13}}

    async def test_filters(self, sdk, devices):
        async def found(**wanted):
            answer = await sdk.call("list_devices", limit=50, **wanted)
            assert answer["page"]["count"] == len(answer["devices"])
            return {one["node_id"] for one in answer["devices"]}

        assert await found(gateway_id="hub_hub") == {"n0", "n1", "n2"}
        assert await found(gateway_id="hub_hub", is_cascade_query=True) == {"n0", "n1", "n2"}
        assert await found(product_id="hub") == {"hub"}
        assert await found(node_id="n3") == {"n3"}
        assert await found(device_name="valve 4") == {"n4", "n9"}
        assert await found(app_id="app") == {"hub"}
        assert await found(product_id="hub", node_id="n3") == set()
        now = datetime.now(UTC)
        past, future = (f"{now + timedelta(hours=h):%Y%m%dT%H%M%SZ}" for h in (-1, 1))
        assert len(await found(start_time=past, end_time=future)) == 13
        assert await found(end_time=past) == set()
        assert (await sdk.refused("list_devices", start_time=future, end_time=past))[:2] == (
            400,
            "IOTDA.000010",
        )
        assert (await sdk.refused("list_devices", start_time="2026-11-22"))[:2] == (400, "IOTDA.000009")

    @pytest.mark.parametrize(
        ("wrong", "code"),
        [
            ({"limit": 0}, "IOTDA.000017"),
            ({"limit": 51}, "IOTDA.000017"),
            ({"offset": 501}, "IOTDA.000006"),
            ({"offset": -1}, "IOTDA.000006"),
            ({"marker": "f" * 23}, "IOTDA.000006"),
            ({"marker": "g" * 24}, "IOTDA.000006"),
            ({"product_id": "p" * 37}, "IOTDA.000006"),
        ],
    )
    async def test_bad_parameters(self, sdk, wrong, code):
        assert (await sdk.refused("list_devices", **wrong))[:2] == (400, code)


class TestGroups:
    async def make(self, sdk, name="north", **fields):
        return await sdk.call("add_device_group", body=iotda.AddDeviceGroupDTO(name=name, **fields))

    async def act(self, sdk, group, action, device_id, call="call"):
        return await getattr(sdk, call)(
            "create_or_delete_device_in_group",
            group_id=group["group_id"],
            action_id=action,
            device_id=device_id,
        )

    async def test_life(self, sdk):
        group = await self.make(sdk, description="all of the north")
        assert re.fullmatch("[0-9a-f]{32}", group["group_id"])
        expected = {"name": "north", "description": "all of the north", "group_type": "STATIC"}
        assert group == {**expected, "group_id": group["group_id"]}
        assert await sdk.call("show_device_group", group_id=group["group_id"]) == group
        body = iotda.UpdateDeviceGroupDTO(description="some")
        changed = await sdk.call("update_device_group", group_id=group["group_id"], body=body)
        assert changed == {**group, "description": "some"}
        other = await self.make(sdk, "south")
        listed = await sdk.call("list_device_groups")
        assert [one["name"] for one in listed["device_groups"]] == ["south", "north"]
        assert listed["page"]["count"] == 2
        found = await sdk.call("list_device_groups", name="north", limit=1)
        assert [one["group_id"] for one in found["device_groups"]] == [group["group_id"]]
        same = iotda.AddDeviceGroupDTO(name="south")
        assert (await sdk.refused("add_device_group", body=same))[:2] == (400, "IOTDA.000006")
        assert await sdk.call("delete_device_group", group_id=other["group_id"]) is None
        assert (await sdk.refused("show_device_group", group_id=other["group_id"]))[0] == 404

    async def test_devices(self, sdk):
        group = await self.make(sdk)
        for number in range(3):
            await add(sdk, node_id=f"n{number}")
            await self.act(sdk, group, "addDevice", f"valve_n{number}")
        await self.act(sdk, group, "addDevice", "valve_n0")
        page = await sdk.call("show_devices_in_group", group_id=group["group_id"], limit=2)
        assert [one["device_id"] for one in page["devices"]] == ["valve_n2", "valve_n1"]
        expected = {"device_id": "valve_n2", "node_id": "n2", "device_name": "n2", "product_id": "valve"}
        assert page["devices"][0] == expected
        rest = await sdk.call(
            "show_devices_in_group", group_id=group["group_id"], marker=page["page"]["marker"]
        )
        assert [one["device_id"] for one in rest["devices"]] == ["valve_n0"]
        assert page["page"]["count"] == rest["page"]["count"] == 3
        in_use = await sdk.refused("delete_device_group", group_id=group["group_id"])
        assert in_use == (400, "IOTDA.000006", "Devices are in the group: take them out first.")
        for number in range(3):
            await self.act(sdk, group, "removeDevice", f"valve_n{number}")
        assert await sdk.call("delete_device_group", group_id=group["group_id"]) is None

    async def test_what_is_not_there(self, sdk, sdk_of, database):
        group = await self.make(sdk)
        other = sdk_of(token=await make_token(database, projects=["p2"]), project="p2")
        await add(other)
        answer = await self.act(sdk, group, "addDevice", "valve_n1", call="refused")
        assert answer == (404, "IOTDA.014000", "there is no device 'valve_n1'")
        assert (await self.act(other, group, "addDevice", "valve_n1", call="refused"))[0] == 404
        assert (await self.act(sdk, group, "dance", "valve_n1", call="refused"))[:2] == (400, "IOTDA.000006")

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"name": ""},
            {"name": "n" * 65},
            {"name": "n", "description": "d" * 65},
            {"name": "n", "group_type": "DYNAMIC"},
            {"name": "n", "super_group_id": "g"},
            {"name": "n", "app_id": "a" * 37},
        ],
    )
    async def test_bad_groups(self, raw, body):
        answer = await raw.post("/device-group", json=body)
        assert (answer.status_code, answer.json()["error_code"]) == (400, "IOTDA.000006")
