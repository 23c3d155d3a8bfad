"""Connections, commands and messages of devices, as gateways and the batch API use them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from include.devices import service
from include.devices.model import (
    FROZEN_DEVICE,
    MESSAGE_TWICE,
    TOO_MANY_WAIT,
    UNKNOWN_DEVICE,
    NewCommand,
    NewMessage,
)
from include.devices.registry import RegistryService
from include.devices.rows import DeviceRow
from include.devices.shadows import ShadowsService
from include.devices.traffic import TrafficService
from include.errors import NotFoundError
from tests.builders import make_token

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def minutes(count):
    return NOW + timedelta(minutes=count)


@pytest.fixture(autouse=True)
async def devices(database):
    rows = [
        DeviceRow(node_id=f"{n}", project_id="42", product_id="p", name="x", device_id=f"d{n}")
        for n in range(3)
    ]
    async with database.transaction() as connection:
        await RegistryService(connection).put(rows)


@pytest.fixture
def status(connection):
    def read(device_id="d1"):
        return connection.execute(
            "SELECT status, status_before_freeze, status_at, active_at FROM device WHERE device_id = %s",
            [device_id],
        ).fetchone()

    return read


class TestConnections:
    async def test_what_changed_is_told(self, database, status):
        async with database.transaction() as connection:
            assert sorted(await service.mark_online(connection, ["d1", "d2", "none"], minutes(0))) == [
                "d1",
                "d2",
            ]
            assert await service.mark_online(connection, ["d1"], minutes(1)) == []
            assert await service.mark_offline(connection, ["d1"], minutes(2)) == ["d1"]
            assert await service.mark_online(connection, [], minutes(3)) == []
        assert status() == {
            "status": "OFFLINE",
            "status_before_freeze": None,
            "status_at": minutes(2),
            "active_at": minutes(0),
        }

    async def test_a_late_word_does_not_count(self, database, status):
        async with database.transaction() as connection:
            await service.mark_online(connection, ["d1"], minutes(5))
            assert await service.mark_offline(connection, ["d1"], minutes(4)) == []
        assert status()["status"] == "ONLINE"

    async def test_a_frozen_one_stays_frozen(self, database, status):
        async with database.transaction() as connection:
            await service.mark_online(connection, ["d1"], minutes(0))
            await RegistryService(connection).freeze("d1")
            await service.mark_offline(connection, ["d1"], minutes(1))
        assert (status()["status"], status()["status_before_freeze"]) == ("FROZEN", "OFFLINE")
        async with database.transaction() as connection:
            assert (await RegistryService(connection).unfreeze("d1")).status == "OFFLINE"


class TestForOtherDomains:
    async def test_find_devices(self, database):
        async with database.transaction() as connection:
            found = await service.find_devices(connection, ["d1", "d2", "none"])
            assert await service.find_devices(connection, []) == {}
        assert {name: one.device_id for name, one in found.items()} == {"d1": "d1", "d2": "d2"}

    async def test_bindings(self, database):
        async with database.transaction() as connection:
            assert await service.bind(connection, "li", "d1")
            assert not await service.bind(connection, "li", "d1")
            assert await service.is_bound(connection, "li", "d1")
            assert not await service.is_bound(connection, "li", "d2")
            assert not await service.is_bound(connection, "li", "none")
            assert await service.unbind(connection, "li", "d1")
            assert not await service.unbind(connection, "li", "d1")
            assert not await service.is_bound(connection, "li", "d1")
            with pytest.raises(NotFoundError):
                await service.bind(connection, "li", "none")

    async def test_secrets(self, database):
        async with database.transaction() as connection:
            assert await service.read_secret(connection, "d1") is None
            with pytest.raises(NotFoundError):
                await service.read_secret(connection, "none")

    async def test_reported(self, database):
        async with database.transaction() as connection:
            shadows = ShadowsService(connection)
            assert await shadows.put_reported("d1", "s", {"a": 1, "b": None}, minutes(1))
            assert await shadows.put_reported("d1", "s", {"c": 2, "a": None}, minutes(2))
            assert not await shadows.put_reported("d1", "s", {"c": 3}, minutes(1))
            [found] = await shadows.find_shadow("d1")
            assert (found.reported, found.reported_at, found.version) == ({"c": 2}, minutes(2), 0)
            with pytest.raises(NotFoundError):
                await shadows.put_reported("none", "s", {}, NOW)


def traffic(connection, at=NOW):
    return TrafficService(connection, clock=lambda: at)


async def freeze(database, device_id):
    async with database.transaction() as connection:
        await RegistryService(connection).freeze(device_id)


class TestCommands:
    async def add(self, database, count=1, device_id="d1", **changes):
        async with database.transaction() as connection:
            commands = [NewCommand(device_id, {"n": n}, "valve", "open", **changes) for n in range(count)]
            return await traffic(connection).add_commands(commands)

    async def move(self, database, ids, status, at=1, **more):
        async with database.transaction() as connection:
            return await traffic(connection).move_commands(ids, status, minutes(at), **more)

    async def test_the_whole_way(self, database):
        ids = await self.add(database)
        for at, status in enumerate(("SENT", "DELIVERED", "SUCCESSFUL")):
            assert await self.move(database, ids, status, at, result={"ok": True} if at == 2 else None) == ids
        async with database.transaction() as connection:
            [found] = await traffic(connection).list_commands("d1", limit=10)
        assert (found.status, found.result, found.paras) == ("SUCCESSFUL", {"ok": True}, {"n": 0})
        assert (found.sent_at, found.delivered_at, found.responded_at) == (NOW, minutes(1), minutes(2))
        assert (found.created_at, found.expires_at) == (NOW, NOW + timedelta(hours=24))

    WAYS = (
        ("PENDING", {"SENT", "DELIVERED", "FAILED", "EXPIRED"}),
        ("SENT", {"DELIVERED", "SUCCESSFUL", "FAILED", "TIMEOUT"}),
        ("DELIVERED", {"SUCCESSFUL", "FAILED", "TIMEOUT"}),
        ("SUCCESSFUL", set()),
        ("FAILED", set()),
        ("TIMEOUT", set()),
        ("EXPIRED", set()),
    )

    @pytest.mark.parametrize(("source", "targets"), WAYS)
    async def test_only_these_ways(self, database, connection, source, targets):
        for target in ("PENDING", "SENT", "DELIVERED", "SUCCESSFUL", "FAILED", "TIMEOUT", "EXPIRED"):
            ids = await self.add(database)
            connection.execute(
                "UPDATE device_command SET status = %s WHERE command_id = %s", [source, ids[0]]
            )
            moved = await self.move(database, ids, target)
            assert moved == (ids if target in targets else []), target
            connection.execute("DELETE FROM device_command")

    async def test_of_two_ends_at_once_one_counts(self, database):
        ids = await self.add(database)
        await self.move(database, ids, "SENT")
        ends = await asyncio.gather(
            *(self.move(database, ids, s) for s in ("SUCCESSFUL", "TIMEOUT", "FAILED"))
        )
        assert sorted(map(len, ends)) == [0, 0, 1]

    async def test_twenty_wait_and_no_more(self, database):
        ids = await self.add(database, 22)
        assert ids[20:] == [TOO_MANY_WAIT] * 2
        assert all(isinstance(one, str) for one in ids[:20])
        assert await self.add(database) == [TOO_MANY_WAIT]
        assert TOO_MANY_WAIT not in await self.add(database, device_id="d2")
        await self.move(database, ids[:1], "SENT")
        assert TOO_MANY_WAIT not in await self.add(database)

    async def test_twenty_wait_however_many_come_at_once(self, database, connection):
        await asyncio.gather(*(self.add(database, 8) for _ in range(4)))
        assert connection.execute("SELECT count(*) AS n FROM device_command").fetchone()["n"] == 20

    async def test_time_is_over(self, database, connection):
        [waiting, sent, young, done] = await self.add(database, 4, expires_at=minutes(5))
        await self.move(database, [sent, done], "SENT")
        await self.move(database, [done], "SUCCESSFUL")
        async with database.transaction() as own:
            assert await traffic(own, minutes(4)).expire_commands() == []
            assert sorted(await traffic(own, minutes(5)).expire_commands()) == sorted([waiting, sent, young])
        stored = connection.execute("SELECT command_id, status FROM device_command").fetchall()
        assert {row["command_id"]: row["status"] for row in stored} == {
            waiting: "EXPIRED",
            sent: "TIMEOUT",
            young: "EXPIRED",
            done: "SUCCESSFUL",
        }

    @pytest.mark.parametrize("swept", [False, True])
    async def test_time_is_over_whether_that_was_written_down_or_not(self, database, swept):
        [waiting, sent, heard, done] = ids = await self.add(database, 4, expires_at=minutes(5))
        await self.move(database, [sent, heard, done], "SENT")
        await self.move(database, [heard], "DELIVERED")
        await self.move(database, [done], "SUCCESSFUL")
        async with database.transaction() as connection:
            young, now = traffic(connection, minutes(4)), traffic(connection, minutes(5))
            assert (await young.find_commands([waiting]))[waiting].status == "PENDING"
            if swept:
                await now.expire_commands()
            found = await now.find_commands(ids)
            assert [found[one].status for one in ids] == ["EXPIRED", "TIMEOUT", "TIMEOUT", "SUCCESSFUL"]
            assert await now.list_commands("d1", limit=10) == [found[one] for one in reversed(ids)]
            for status in ("SENT", "DELIVERED", "SUCCESSFUL", "FAILED"):
                assert await now.move_commands(ids, status, minutes(4)) == []

    async def test_what_is_over_leaves_room(self, database):
        await self.add(database, 20, expires_at=minutes(5))
        async with database.transaction() as connection:
            command = NewCommand("d1", {}, "valve", "open")
            assert await traffic(connection, minutes(4)).add_commands([command]) == [TOO_MANY_WAIT]
            assert await traffic(connection, minutes(5)).add_commands([command]) != [TOO_MANY_WAIT]

    async def test_nothing_for_a_device_that_is_frozen_away_or_another_s(self, database):
        await freeze(database, "d2")
        async with database.transaction() as connection:
            commands = [NewCommand(one, {}, "valve", "open") for one in ("d2", "d1", "none")]
            frozen, kept, unknown = await traffic(connection).add_commands(commands)
            assert (frozen, unknown) == (FROZEN_DEVICE, UNKNOWN_DEVICE)
            assert frozen.code == "IOTDA.014016"
            assert list(await traffic(connection).find_commands([kept])) == [kept]
            assert await traffic(connection).list_commands("d2", limit=1) == []
            stranger = TrafficService(connection, projects=["43"])
            assert await stranger.add_commands(commands[1:2]) == [UNKNOWN_DEVICE]

    async def test_rest_lists_the_newest_first(self, database, client_of):
        ids = await self.add(database, 5)
        client = await client_of("management", await make_token(database))
        page = (await client.get("/devices/d1/commands", params={"limit": 3})).json()
        assert [one["command_id"] for one in page["items"]] == ids[:1:-1]
        page = (await client.get("/devices/d1/commands", params={"limit": 3, "cursor": page["next"]})).json()
        assert ([one["command_id"] for one in page["items"]], page["next"]) == (ids[1::-1], None)
        first = page["items"][-1]
        assert (first["status"], first["paras"], first["created_at"]) == (
            "PENDING",
            {"n": 0},
            "2026-11-22T12:00:00Z",
        )
        assert (await client.get("/devices/none/commands")).status_code == 404


class TestMessages:
    async def add(self, database, *messages):
        async with database.transaction() as connection:
            return await traffic(connection).add_messages(messages)

    async def test_the_whole_way(self, database, client_of):
        ids = await self.add(
            database,
            NewMessage("d1", "hello", "m1"),
            NewMessage("d1", {"a": 1}),
            NewMessage("d1", "again", "m1"),
        )
        assert (ids[0], len(ids[1]), ids[2]) == ("m1", 32, MESSAGE_TWICE)
        assert await self.add(database, NewMessage("d1", "x", "m1"), NewMessage("d2", "x", "m1")) == [
            MESSAGE_TWICE,
            "m1",
        ]
        async with database.transaction() as connection:
            keys = [("d1", "m1"), ("d2", "none")]
            assert await traffic(connection).move_messages(keys, "DELIVERED", minutes(1)) == [("d1", "m1")]
            assert await traffic(connection).move_messages(keys, "FAILED", minutes(2), error="x") == []
            assert await traffic(connection).expire_messages() == []
            assert len(await traffic(connection, minutes(2000)).expire_messages()) == 2
        client = await client_of("management", await make_token(database))
        page = (await client.get("/devices/d1/messages")).json()
        assert [(one["message"], one["status"]) for one in page["items"]] == [
            ({"a": 1}, "TIMEOUT"),
            ("hello", "DELIVERED"),
        ]

    @pytest.mark.parametrize("swept", [False, True])
    async def test_time_is_over_whether_that_was_written_down_or_not(self, database, swept):
        await self.add(
            database, NewMessage("d1", "x", "m1", expires_at=minutes(5)), NewMessage("d1", "y", "m2")
        )
        async with database.transaction() as connection:
            young, now = traffic(connection, minutes(4)), traffic(connection, minutes(6))
            assert await young.expire_messages() == []
            assert {one.status for one in await young.list_messages("d1", limit=10)} == {"PENDING"}
            if swept:
                assert await now.expire_messages() == ["m1"]
            found = {one.message_id: one for one in await now.list_messages("d1", limit=10)}
            assert (found["m1"].status, found["m1"].finished_at) == ("TIMEOUT", minutes(5))
            assert (found["m2"].status, found["m2"].finished_at) == ("PENDING", None)
            keys = [("d1", "m1"), ("d1", "m2")]
            assert await now.move_messages(keys, "DELIVERED", minutes(4)) == [("d1", "m2")]

    async def test_what_is_over_leaves_room(self, database):
        await self.add(database, *(NewMessage("d1", n, expires_at=minutes(5)) for n in range(20)))
        async with database.transaction() as connection:
            message = NewMessage("d1", "x")
            assert await traffic(connection, minutes(4)).add_messages([message]) == [TOO_MANY_WAIT]
            assert await traffic(connection, minutes(5)).add_messages([message]) != [TOO_MANY_WAIT]

    async def test_nothing_for_a_device_that_is_frozen_or_away(self, database):
        await freeze(database, "d2")
        messages = [NewMessage(one, "x", "m1") for one in ("d2", "d1", "none")]
        assert await self.add(database, *messages) == [FROZEN_DEVICE, "m1", UNKNOWN_DEVICE]
        async with database.transaction() as connection:
            assert await traffic(connection).list_messages("d2", limit=1) == []

    async def test_twenty_wait(self, database):
        ids = await self.add(database, *(NewMessage("d1", n) for n in range(21)))
        assert ids.count(TOO_MANY_WAIT) == 1
        assert ids[-1] is TOO_MANY_WAIT
