"""The examples of docs/devices.md, sent and imported in their order."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

from include.cli.import_kinds import KINDS
from include.cli.main import main
from tests.builders import make_token

TEXT = (Path(__file__).parents[3] / "docs" / "devices.md").read_text(encoding="utf-8")
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
            answer = await client.request(method, path, **content)
            assert answer.is_success, (line, answer.text)
            if path.startswith("/devices?"):
                assert answer.json()["items"], line
        else:
            file = tmp_path / "file.csv"
            file.write_text(text, encoding="utf-8")
            code = await asyncio.to_thread(main, ["import", name, str(file), "--project", "42", "--json"])
            found = json.loads(capsys.readouterr().out)
            assert (code, found["errors"]) == (0, [])
            assert found["created"] == found["rows"]


def test_the_document_names_every_column():
    kind = KINDS["devices"]
    told = next(line for line in TEXT.splitlines() if line.startswith("Needed are"))
    assert set(re.findall(r"\*\*(\w+)\*\*", told)) == set(kind.required)
    for column in kind.columns:
        assert column in told
    for word in re.findall(r"[\u4e00-\u9fff]+", told):
        assert any(word in name for column in kind.columns for name in kind.called(column)), word
