"""The examples of docs/metering.md, sent and imported in their order."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest

from include.cli.import_kinds import KINDS
from include.cli.main import main
from tests.builders import make_token

TEXT = (Path(__file__).parents[3] / "docs" / "metering.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(http|csv)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


async def test_every_example_works(client_of, database, tmp_path, capsys):
    client = await client_of("management", await make_token(database))
    blocks = BLOCK.findall(TEXT)
    assert {kind for kind, _, _ in blocks} == {"http", "csv"}
    for kind, name, text in blocks:
        if kind == "http":
            line, _, body = text.partition("\n")
            method, path = line.split()
            content = {"json": json.loads(body)} if body.strip() else {}
            answer = await client.request(method, f"/projects/42{path}", **content)
            assert answer.is_success, (line, answer.text)
        else:
            file = tmp_path / "file.csv"
            file.write_text(text, encoding="utf-8")
            code = await asyncio.to_thread(main, ["import", name, str(file), "--project", "42", "--json"])
            found = json.loads(capsys.readouterr().out)
            assert (code, found["errors"]) == (0, [])
            assert found["created"] == found["rows"]


@pytest.mark.parametrize("name", [name for name in KINDS if name != "devices"])  # those: docs/devices.md
def test_the_table_names_every_column(name):
    row = next(line for line in TEXT.splitlines() if line.startswith(f"| `{name}`"))
    kind = KINDS[name]
    told = row.split("|")[2]
    assert set(re.findall(r"\*\*(\w+)\*\*", told)) == set(kind.required)
    for column in kind.columns:
        assert column in told or re.fullmatch("address[2-5]", column)
    for word in re.findall(r"[\u4e00-\u9fff]+\d?", told):
        assert any(word in kind.called(column) for column in kind.columns), word
