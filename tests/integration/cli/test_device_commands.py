"""`./carillon bind`, `unbind` and `import devices`, called as the shell calls them."""

from __future__ import annotations

import asyncio
import csv
import json

import pytest

from include.cli.main import main
from include.devices.service import read_secret

HEADINGS = ("设备标识码", "产品ID", "设备名称", "密钥", "网关ID", "标签", "状态")


def run(capsys, *words):
    code = main([*map(str, words)])
    out, err = capsys.readouterr()
    return code, out, err


def write(file, rows):
    with file.open("w", encoding="utf-8", newline="") as text:
        csv.writer(text).writerows(rows)
    return file


def load(capsys, file, *words):
    code, out, _ = run(capsys, "import", "devices", file, "--project", "42", "--json", *words)
    found = json.loads(out)
    assert code == (2 if found["errors"] else 0)
    return found


def errors(found):
    return [(one["row"], one["column"], one["message"]) for one in found["errors"]]


@pytest.fixture
def device(connection):
    connection.execute(
        "INSERT INTO device (device_id, project_id, product_id, node_id, name, created_at, updated_at)"
        " VALUES ('d1', '42', 'p', 'n', 'x', now(), now())"
    )
    return "d1"


class TestBind:
    def test_json_is_all_there_is_on_standard_output(self, device, capsys):
        for changed in (True, False):
            code, out, err = run(capsys, "bind", "--user", "张三", "--device", device, "--json")
            assert (code, err) == (0, "")
            assert json.loads(out) == {"user": "张三", "device_id": "d1", "bound": True, "changed": changed}
        for changed in (True, False):
            code, out, err = run(capsys, "unbind", "--user", "张三", "--device", device, "--json")
            assert (code, err) == (0, "")
            assert json.loads(out) == {"user": "张三", "device_id": "d1", "bound": False, "changed": changed}

    def test_people_are_told_in_a_line(self, device, capsys, connection):
        assert run(capsys, "bind", "--user", "li", "--device", device)[:2] == (
            0,
            "li may set timers on d1.\n",
        )
        assert connection.execute("SELECT user_name FROM device_binding").fetchall() == [{"user_name": "li"}]
        code, out, _ = run(capsys, "unbind", "--user", "li", "--device", device)
        assert (code, out) == (0, "li may not set timers on d1 any more.\n")

    @pytest.mark.parametrize("command", ["bind", "unbind"])
    def test_bad_input(self, device, capsys, command):
        code, _, err = run(capsys, command, "--user", "li", "--device", "none")
        assert (code, err.startswith("carillon: there is no device 'none': make it with")) == (1, True)
        code, _, err = run(capsys, command, "--user", "a/b", "--device", device)
        assert (code, err.startswith("carillon: --user: must have")) == (2, True)
        code, _, err = run(capsys, command, "--user", "li", "--device", "a b")
        assert (code, err.startswith("carillon: --device: must have")) == (2, True)
        assert run(capsys, command, "--user", "li")[0] == 2


class TestImport:
    def test_headings_of_people(self, tmp_path, capsys, connection):
        rows = (
            ("g1", "meter", "网关", "", "", "", ""),
            ("n1", "meter", "一号", "s3cret-s3cret", "meter_g1", "city=上海;floor=3", "在线"),
        )
        found = load(capsys, write(tmp_path / "d.csv", (HEADINGS, *rows)))
        assert (found["created"], found["errors"]) == (2, [])
        stored = connection.execute("SELECT * FROM device ORDER BY id").fetchall()
        assert [one["device_id"] for one in stored] == ["meter_g1", "meter_n1"]
        shown = {name: stored[1][name] for name in ("project_id", "name", "gateway_id", "tags", "status")}
        assert shown == {
            "project_id": "42",
            "name": "一号",
            "gateway_id": "meter_g1",
            "tags": {"city": "上海", "floor": "3"},
            "status": "ONLINE",
        }
        found = load(capsys, write(tmp_path / "d.csv", (HEADINGS, *rows)))
        assert (found["created"], found["unchanged"]) == (0, 2)

    async def test_secrets_are_encrypted(self, tmp_path, capsys, database):
        file = write(tmp_path / "d.csv", (HEADINGS, ("n1", "meter", "x", "s3cret-s3cret", "", "", "")))
        await asyncio.to_thread(load, capsys, file)
        async with database.transaction() as connection:
            assert await read_secret(connection, "meter_n1") == "s3cret-s3cret"

    def test_english_headings(self, tmp_path, capsys, connection):
        file = write(
            tmp_path / "d.csv",
            (("device_id", "node_id", "product_id", "name", "tags"), ("a", "1", "p", "x", '{"k": "v"}')),
        )
        assert load(capsys, file)["created"] == 1
        assert connection.execute("SELECT device_id, tags FROM device").fetchone() == {
            "device_id": "a",
            "tags": {"k": "v"},
        }

    def test_what_is_wrong_is_told_by_row_and_heading(self, tmp_path, capsys, connection):
        rows = (
            ("n1", "meter", "ok", "", "", "", ""),
            ("n2", "meter", "", "short", "", "city", "on"),
            ("n1", "meter", "again", "", "", "", ""),
        )
        found = load(capsys, write(tmp_path / "d.csv", (HEADINGS, *rows)))
        assert {(row, column) for row, column, _ in errors(found)} == {
            (3, "设备名称"), (3, "密钥"), (3, "标签"), (3, "状态"), (4, "device_id"),
        }  # fmt: skip
        assert "short" not in json.dumps(found)
        rows = (("n1", "meter", "ok", "", "", "", ""), ("n2", "meter", "x", "", "none", "", ""))
        found = load(capsys, write(tmp_path / "d.csv", (HEADINGS, *rows)))
        assert errors(found) == [(3, "网关ID", "the project has no device 'none'")]
        assert connection.execute("SELECT count(*) AS n FROM device").fetchone()["n"] == 0

    def test_twenty_thousand(self, tmp_path, capsys, connection):
        rows = ((f"n{n}", "meter", f"device {n}", "", "", f"site=s{n % 50}", "") for n in range(20_000))
        file = write(tmp_path / "d.csv", (HEADINGS, *rows))
        found = load(capsys, file)
        assert (found["rows"], found["created"], found["mode"]) == (20_000, 20_000, "all-or-nothing")
        assert connection.execute("SELECT count(*) AS n FROM device_tag").fetchone()["n"] == 20_000
        assert load(capsys, file)["unchanged"] == 20_000
