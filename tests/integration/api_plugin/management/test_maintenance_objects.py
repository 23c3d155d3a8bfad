"""/carillon/v1/maintenance/objects: what objects are called."""

from __future__ import annotations

import pytest

from tests.builders import make_token

PATH = "/maintenance/objects"
PUMP = {"object_id": "cdp_test", "name": "cdp_test(不删不更新)", "alias": "cdp_test"}


@pytest.fixture
async def client(client_of, database):
    return await client_of("management", await make_token(database, projects=["p1"]))


async def put(client, *items, status=200, **query):
    answer = await client.post(f"{PATH}/bulk", json={"items": list(items)}, params=query)
    assert answer.status_code == status, answer.text
    return answer.json()


async def test_200_named_and_named_anew(client):
    assert await put(client, PUMP, {"object_id": "a", "name": "A"}) == {
        "created": 2, "updated": 0, "unchanged": 0
    }  # fmt: skip
    assert await put(client, PUMP, {"object_id": "a", "name": "Fan"}) == {
        "created": 0, "updated": 1, "unchanged": 1
    }  # fmt: skip
    page = (await client.get(PATH)).json()
    assert [{**one, "updated_at": None} for one in page["items"]] == [
        {"object_id": "a", "organization_id": "p1", "name": "Fan", "alias": "", "updated_at": None},
        {**PUMP, "organization_id": "p1", "updated_at": None},
    ]


async def test_200_page_by_page_over_organisations(client_of, database):
    everybody = await client_of("management", await make_token(database))
    for organization in ("", "p1", "p2"):
        rows = [{"object_id": name, "name": name} for name in ("b", "a")]
        query = {"organization_id": organization} if organization else {}
        await put(everybody, *rows, **query)
    found, cursor = [], None
    while True:
        query = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        page = (await everybody.get(PATH, params=query)).json()
        found += [(one["organization_id"], one["object_id"]) for one in page["items"]]
        if (cursor := page["next"]) is None:
            break
    assert found == [(organization, name) for organization in ("", "p1", "p2") for name in ("a", "b")]
    narrow = await client_of("management", await make_token(database, projects=["p2"]))
    assert {one["organization_id"] for one in (await narrow.get(PATH)).json()["items"]} == {"p2"}


async def test_whose_they_are(client, client_of, database):
    answer = await put(client, PUMP, status=404, organization_id="p2")
    assert answer["detail"] == "there is no project 'p2'"
    two = await client_of("management", await make_token(database, projects=["p1", "p2"]))
    answer = await put(two, PUMP, status=422)
    assert answer["errors"] == [
        {"field": "organization_id", "message": "is required: the token has several projects"}
    ]
    await put(two, PUMP, organization_id="p2")
    assert (await client.get(PATH)).json()["items"] == []


@pytest.mark.parametrize(
    ("item", "field"),
    [
        ({"object_id": "", "name": "x"}, "object_id"),
        ({"object_id": "x" * 129, "name": "x"}, "object_id"),
        ({"object_id": "b", "name": ""}, "name"),
        ({"object_id": "b", "name": "x" * 201}, "name"),
        ({"object_id": "b", "name": "a\x00b"}, "name"),
        ({"object_id": "b"}, "name"),
        ({"object_id": "b", "name": "x", "kind": 1}, "kind"),
        ({"object_id": "cdp_test", "name": "x"}, "object_id"),
    ],
)
async def test_422_names_the_row(client, item, field):
    answer = await put(client, PUMP, item, status=422)
    assert [(error["row"], error["field"]) for error in answer["errors"]] == [(2, field)]
    assert (await client.get(PATH)).json()["items"] == []
