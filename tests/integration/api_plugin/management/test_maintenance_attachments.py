"""/carillon/v1/maintenance/attachments: files that are what they say, served so that nobody is harmed."""

from __future__ import annotations

import pytest

from include.maintenance.attachments import BYTES_MOST
from tests.builders import make_token

PATH = "/maintenance/attachments"
PNG = b"\x89PNG\r\n\x1a\n" + b"\x00" * 20
FILES = {
    "image/jpeg": ("a.JPG", b"\xff\xd8\xff\xe0rest"),
    "image/png": ("a.png", PNG),
    "image/gif": ("a.gif", b"GIF89a rest"),
    "image/webp": ("a.webp", b"RIFF\x10\x00\x00\x00WEBPVP8 "),
    "application/pdf": ("a.pdf", b"%PDF-1.7\nrest"),
}


@pytest.fixture
async def client(client_of, database):
    return await client_of("management", await make_token(database, projects=["p1"]))


async def send(client, name: str, content: bytes, content_type: str = "image/png", **query):
    return await client.post(PATH, files={"file": (name, content, content_type)}, params=query)


@pytest.mark.parametrize("content_type", FILES)
async def test_201_and_200_as_it_was_sent(client, content_type):
    name, content = FILES[content_type]
    made = await send(client, f"C:\\pictures\\{name}", content, "text/html")
    assert made.status_code == 201, made.text
    body = made.json()
    assert {**body, "created_at": None} == {
        "id": 1, "organization_id": "p1", "name": name, "content_type": content_type, "size": len(content),
        "created_at": None, "url": "/carillon/v1/maintenance/attachments/1",
    }  # fmt: skip
    answer = await client.get(f"http://test{body['url']}")
    assert answer.content == content
    kind = "attachment" if content_type == "application/pdf" else "inline"
    assert dict(answer.headers) == {
        "content-type": content_type, "content-length": str(len(content)),
        "content-disposition": f"{kind}; filename*=UTF-8''{name}", "x-content-type-options": "nosniff",
        "content-security-policy": "default-src 'none'; sandbox",
        "cross-origin-resource-policy": "same-origin", "cache-control": "private, max-age=86400, immutable",
    }  # fmt: skip


async def test_a_name_cannot_break_out_of_its_header(client):
    made = await send(client, 'x"; a=b 油.png', PNG)
    assert made.status_code == 201, made.text
    answer = await client.get(f"{PATH}/1")
    disposition = answer.headers["content-disposition"]
    assert disposition.startswith("inline; filename*=UTF-8''x")
    assert not set(disposition.removeprefix("inline; ")) & set('"; ')


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "must be a JPEG, PNG, GIF, WebP or PDF file"),
        ("a.png", b"<script>alert(1)</script>", "must be a JPEG, PNG, GIF, WebP or PDF file"),
        ("a.html", PNG, "is image/png: its name must end in .png"),
        ("a.png", b"\xff\xd8\xff\xe0", "is image/jpeg: its name must end in .jpg or .jpeg"),
        ("a", PNG, "is image/png: its name must end in .png"),
        ("a.png", b"", "is empty"),
        ("x" * 197 + ".png", PNG, "needs a name of 1 to 200 printable characters"),
        ("a.png", PNG + b"0" * BYTES_MOST, f"must have at most {BYTES_MOST:,} bytes"),
    ],
)
async def test_422(client, connection, name, content, message):
    answer = await send(client, name, content)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"] == [{"field": "file", "message": message}]
    assert connection.execute("SELECT count(*) AS n FROM maintenance_attachment").fetchone()["n"] == 0


async def test_413_before_it_is_read(client):
    answer = await send(client, "a.png", PNG + b"0" * (BYTES_MOST + 20_000))
    assert answer.status_code == 413


async def test_404_of_others_and_deleted(client, client_of, database):
    await send(client, "a.png", PNG)
    other = await client_of("management", await make_token(database, projects=["p2"]))
    assert (await other.get(f"{PATH}/1")).status_code == 404
    assert (await other.delete(f"{PATH}/1")).status_code == 404
    assert (await client.delete(f"{PATH}/1")).status_code == 204
    assert (await client.get(f"{PATH}/1")).status_code == 404


async def test_whose_it_is(client, client_of, database):
    assert (await send(client, "a.png", PNG, organization_id="p2")).status_code == 404
    everybody = await client_of("management", await make_token(database))
    assert (await send(everybody, "a.png", PNG)).json()["organization_id"] == ""
