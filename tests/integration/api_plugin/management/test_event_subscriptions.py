"""Event subscriptions in the own API: made, changed, deleted; what they were told, and told again."""

from __future__ import annotations

import asyncio
from datetime import datetime

import pytest
from standardwebhooks import Webhook

from include.kit.secrets import decrypt
from tests.builders import make_token
from tests.event_rows import happen
from tests.integration.kit.peers import OK, always, peer

PATH = "/event-subscriptions"
URL = "https://example.com/events"
BODY = {"project_id": "p1", "url": URL, "resources": ["batchtask"]}


@pytest.fixture
async def client(client_of, database):
    return await client_of("management", await make_token(database, projects=["p1", "p2"]))


@pytest.fixture
async def stranger(client_of, database):
    return await client_of("management", await make_token(database, projects=["p3"]))


async def add(client, **changes) -> dict:
    answer = await client.post(PATH, json={**BODY, **changes})
    assert answer.status_code == 201, answer.text
    return answer.json()


class TestCreate:
    async def test_201_the_secret_is_shown_once_and_kept_sealed(self, client, connection):
        made = await add(client)
        assert datetime.fromisoformat(made.pop("created_at")).tzinfo is not None
        secret = made.pop("secret")
        assert made == {"id": 1, **BODY}
        Webhook(secret)  # reads it
        [row] = connection.execute("SELECT secret FROM event_subscription").fetchall()
        assert decrypt(row["secret"]) == secret != row["secret"]
        shown = (await client.get(f"{PATH}/1")).json()
        assert "secret" not in shown
        assert (await add(client))["secret"] != secret

    async def test_404_a_project_of_others(self, client):
        answer = await client.post(PATH, json={**BODY, "project_id": "p3"})
        assert (answer.status_code, answer.json()["detail"]) == (404, "there is no project 'p3'")

    async def test_what_belongs_to_no_project_is_for_tokens_of_all(self, client, client_of, database):
        assert (await client.post(PATH, json={**BODY, "project_id": ""})).status_code == 404
        everybody = await client_of("management", await make_token(database))
        assert (await add(everybody, project_id=""))["project_id"] == ""
        assert (await client.get(f"{PATH}/1")).status_code == 404

    async def test_409_too_many(self, client, connection):
        await add(client)
        connection.execute(
            "INSERT INTO event_subscription (project_id, url, secret, resources, created_at)"
            " SELECT 'p1', url, secret, resources, created_at FROM event_subscription, generate_series(1, 49)"
        )
        answer = await client.post(PATH, json=BODY)
        assert (answer.status_code, answer.json()["detail"]) == (
            409, "the project has 50 subscriptions already"
        )  # fmt: skip
        await add(client, project_id="p2")

    @pytest.mark.parametrize(
        ("changes", "field", "message"),
        [
            ({"url": "http://127.0.0.1/x"}, "url", "127.0.0.1 is a loopback address and may not be called"),
            ({"url": "http://169.254.169.254/"}, "url", "cloud metadata address and may not be called"),
            ({"url": "http://localhost:80/"}, "url", "loopback"),
            ({"url": "ftp://example.com"}, "url", "http"),
            ({"url": ""}, "url", "must have at least 1 character"),
            ({"url": "http://example.com/" + "x" * 2048}, "url", "must have at most 2048 characters"),
            ({"resources": []}, "resources", "should have at least 1 item"),
            ({"resources": ["meter"]}, "resources.0", "must be 'batchtask' or 'maintenance.task'"),
            ({"resources": ["batchtask", "batchtask"]}, "resources", "names a resource twice"),
            ({"project_id": "x" * 65}, "project_id", "must have 1 to 64 printable characters"),
            ({"secret": "mine"}, "secret", "is not a field of this request"),
        ],
    )
    async def test_422(self, client, connection, changes, field, message):
        answer = await client.post(PATH, json={**BODY, **changes})
        assert answer.status_code == 422, answer.text
        [error] = answer.json()["errors"]
        assert error["field"] == field
        assert message in error["message"]
        assert not connection.execute("SELECT FROM event_subscription").fetchall()


class TestListAndShow:
    async def test_200_pages_of_the_tokens_projects(self, client, stranger):
        ids = [(await add(client, project_id=project))["id"] for project in ("p1", "p2", "p1")]
        first = (await client.get(PATH, params={"limit": 2})).json()
        assert [item["id"] for item in first["items"]] == ids[:2]
        second = (await client.get(PATH, params={"limit": 2, "cursor": first["next"]})).json()
        assert ([item["id"] for item in second["items"]], second["next"]) == (ids[2:], None)
        ofs = (await client.get(PATH, params={"project": "p1"})).json()
        assert [item["id"] for item in ofs["items"]] == [ids[0], ids[2]]
        assert (await stranger.get(PATH)).json() == {"items": [], "next": None}

    async def test_404(self, client, stranger):
        made = await add(client)
        for who, one in ((client, made["id"] + 1), (stranger, made["id"])):
            answer = await who.get(f"{PATH}/{one}")
            assert (answer.status_code, answer.json()["detail"]) == (
                404, f"there is no event subscription {one}"
            )  # fmt: skip


class TestChange:
    async def test_200_what_is_not_told_stays(self, client):
        made = await add(client)
        answer = await client.patch(f"{PATH}/{made['id']}", json={"url": "https://example.com/other"})
        assert answer.status_code == 200
        expected = {name: value for name, value in made.items() if name != "secret"}
        assert answer.json() == {**expected, "url": "https://example.com/other"}

    async def test_422(self, client):
        made = await add(client)
        for body, field in (
            ({}, ""),
            ({"url": "http://10.0.0.1/"}, "url"),
            ({"project_id": "p2"}, "project_id"),
        ):
            answer = await client.patch(f"{PATH}/{made['id']}", json=body)
            assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)

    async def test_404(self, stranger, client):
        made = await add(client)
        assert (await stranger.patch(f"{PATH}/{made['id']}", json={"url": URL})).status_code == 404


@pytest.mark.usefixtures("local_targets")
class TestDelete:
    async def test_204_nothing_more_is_told_and_what_waited_is_given_up(self, client, connection):
        async def hang(request, reader, writer):
            await asyncio.sleep(60)

        async with peer(hang) as receiver:
            made = await add(client, url=receiver.url)
            happen(connection)
            assert (await client.delete(f"{PATH}/{made['id']}")).status_code == 204
            happen(connection)
        [row] = connection.execute("SELECT next_at, delivered_at, last_error FROM event").fetchall()
        assert row == {"next_at": None, "delivered_at": None, "last_error": "the subscription was deleted"}
        assert (await client.get(f"{PATH}/{made['id']}")).status_code == 404
        assert (await client.delete(f"{PATH}/{made['id']}")).status_code == 404

    async def test_404(self, client, stranger):
        made = await add(client)
        assert (await stranger.delete(f"{PATH}/{made['id']}")).status_code == 404


@pytest.mark.usefixtures("local_targets")
class TestEvents:
    async def until(self, client, path: str, **params) -> list[dict]:
        """Return the events of a list once there are some."""
        async with asyncio.timeout(20):
            while not (items := (await client.get(path, params=params)).json()["items"]):
                await asyncio.sleep(0.05)
        return items

    async def test_200_the_api_itself_tells_and_lists_what_was_told(self, client, connection):
        async with peer(always(OK)) as receiver:
            made = await add(client, url=receiver.url)
            path = f"{PATH}/{made['id']}/events"
            assert (await client.get(path)).json() == {"items": [], "next": None}
            happen(connection, "t1", "Success")
            [event] = await self.until(client, path, state="delivered")
        stored = connection.execute("SELECT * FROM event").fetchone()
        moments = [datetime.fromisoformat(event.pop(name)) for name in ("created_at", "delivered_at")]
        assert moments == [stored["created_at"], stored["delivered_at"]]
        assert event == {
            "id": 1,
            "webhook_id": stored["webhook_id"],
            "resource": "batchtask",
            "event": "update",
            "subject": "t1",
            "body": {"task_id": "t1", "status": "Success"},
            "state": "delivered",
            "attempts": 1,
            "next_at": None,
            "last_error": None,
        }

    async def test_200_pages_the_newest_first_and_by_state(self, client, connection):
        made = await add(client)
        for number in range(4):
            happen(connection, f"t{number}")
        connection.execute("UPDATE event SET next_at = now() + '1h'")
        connection.execute("UPDATE event SET next_at = NULL WHERE id IN (1, 2)")
        connection.execute("UPDATE event SET delivered_at = now() WHERE id = 2")
        path = f"{PATH}/{made['id']}/events"

        async def ids(**params) -> list[int]:
            return [item["id"] for item in (await client.get(path, params=params)).json()["items"]]

        assert await ids() == [4, 3, 2, 1]
        assert [await ids(state=state) for state in ("waiting", "delivered", "given_up")] == [
            [4, 3],
            [2],
            [1],
        ]
        first = (await client.get(path, params={"limit": 3})).json()
        assert await ids(cursor=first["next"], limit=3) == [1]

    async def test_202_told_again_under_the_same_id(self, client, connection):
        async with peer(always(OK)) as receiver:
            made = await add(client, url=receiver.url)
            happen(connection)
            path = f"{PATH}/{made['id']}/events"
            [event] = await self.until(client, path, state="delivered")
            answer = await client.post(f"{path}/{event['id']}/redeliver")
            assert (answer.status_code, answer.json()["state"]) == (202, "waiting")
            await self.until(client, path, state="delivered")
        ids = [
            line for one in receiver.requests for line in one.split(b"\r\n") if line.startswith(b"webhook-id")
        ]
        assert ids == [f"webhook-id: {event['webhook_id']}".encode()] * 2

    async def test_404(self, client, stranger, connection):
        mine, other = await add(client), await add(client, project_id="p2")
        happen(connection)
        path = f"{PATH}/{mine['id']}/events"
        assert (await stranger.get(path)).status_code == 404
        assert (await stranger.post(f"{path}/1/redeliver")).status_code == 404
        answer = await client.post(f"{PATH}/{other['id']}/events/1/redeliver")
        assert (answer.status_code, answer.json()["detail"]) == (
            404, "there is no event 1 of this subscription"
        )  # fmt: skip

    async def test_422_a_state_that_is_none(self, client):
        made = await add(client)
        answer = await client.get(f"{PATH}/{made['id']}/events", params={"state": "lost"})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "state")
