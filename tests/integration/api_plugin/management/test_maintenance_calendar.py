"""/carillon/v1/maintenance: the preview, and the calendar that programs subscribe to."""

from __future__ import annotations

import icalendar
import pytest

from tests.builders import make_token
from tests.maintenance_rows import Bench

CALENDAR = "/maintenance/calendar.ics"


@pytest.fixture
async def project(database, connection):
    return await Bench(database, connection).create("p1", uid="m", object_ids=["a", "b"])


async def subscribe(client_of, database, **query):
    """Ask as a calendar program does: no header, a token in the address."""
    token = await make_token(database, apis=["calendar"], projects=["p1"])
    return await (await client_of("management")).get(CALENDAR, params={"token": token, **query})


class TestCalendar:
    async def test_200(self, client_of, database, project):
        answer = await subscribe(client_of, database)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "text/calendar; charset=utf-8"
        assert answer.headers["cache-control"] == "private, max-age=300"
        assert icalendar.Calendar.from_ical(answer.content).walk("VEVENT")

    async def test_200_nothing_of_others(self, client_of, database, project):
        token = await make_token(database, apis=["calendar"], projects=["p2"])
        answer = await (await client_of("management")).get(CALENDAR, params={"token": token})
        assert icalendar.Calendar.from_ical(answer.content).walk("VEVENT") == []

    async def test_403_a_token_that_opens_more_has_no_place_in_an_address(self, client_of, database, project):
        client = await client_of("management")
        for apis in (None, ["management"], ["management", "calendar"]):
            token = await make_token(database, apis=apis)
            assert (await client.get(CALENDAR, params={"token": token})).status_code == 403

    async def test_403_it_opens_nothing_else(self, client_of, database, project):
        client = await client_of("management", await make_token(database, apis=["calendar"]))
        assert (await client.get("/maintenance/history")).status_code == 403

    @pytest.mark.parametrize("token", ["", "1:2", f"1:{'0' * 40}", f"99:{'0' * 40}", "x" * 65])
    async def test_401_a_wrong_one(self, client_of, database, project, token):
        await make_token(database, apis=["calendar"])
        answer = await (await client_of("management")).get(CALENDAR, params={"token": token})
        assert answer.status_code == (422 if len(token) > 64 else 401)


class TestPreview:
    @pytest.fixture
    async def client(self, client_of, database):
        return await client_of("management", await make_token(database, projects=["p1"]))

    async def test_200(self, client, project):
        page = (await client.get("/maintenance/projects/m/preview", params={"limit": 1})).json()
        [first] = page["items"]
        assert (first["object_id"], first["state"], first["task_id"]) == ("a", "waiting", None)
        assert len(first["following"]) >= 180
        query = {"limit": 1, "cursor": page["next"]}
        page = (await client.get("/maintenance/projects/m/preview", params=query)).json()
        assert ([one["object_id"] for one in page["items"]], page["next"]) == (["b"], None)

    async def test_404(self, client, project):
        assert (await client.get("/maintenance/projects/other/preview")).status_code == 404

    @pytest.mark.parametrize("months", [0, 13, "x"])
    async def test_422(self, client, project, months):
        answer = await client.get("/maintenance/projects/m/preview", params={"months": months})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "months")
