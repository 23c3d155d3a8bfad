"""`./carillon import`: files as people have them, into a real database."""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from openpyxl import Workbook

from include.cli import import_command
from include.cli.main import main

HEADINGS = ("户号", "类型", "地址1", "地址2", "表号", "位数", "装表时间", "起码", "姓名", "手机号", "人数")
ROWS = (
    ("h-1", "水", "安心e家", "1号楼", "000090502121", "5", "2026/1/1", "12.5", "张三", "13800000001", "3"),
    ("h-2", "电", "安心e家", "2号楼", "000090502122", "6", "2026-01-01 08:30", "0", "李四", "", "1"),
    ("h-3", "水", "安心e家", "3号楼", "", "", "", "", "", "", ""),
)


def load(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = main(["import", *map(str, words)])
    out, err = capsys.readouterr()
    return code, out, err


def report(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, Any]:
    code, out, _ = load(capsys, *words, "--json")
    found: dict[str, Any] = json.loads(out)
    assert code == (2 if found["errors"] else 0)
    return found


def errors(found: dict[str, Any]) -> list[tuple[int, str, str]]:
    return [(one["row"], one["column"], one["message"]) for one in found["errors"]]


def write_csv(
    file: Path, rows: Iterable[Sequence[object]], *, encoding: str = "utf-8", delimiter: str = ","
) -> Path:
    with file.open("w", encoding=encoding, newline="") as text:
        csv.writer(text, delimiter=delimiter).writerows(rows)
    return file


def write_xlsx(file: Path, rows: Iterable[Sequence[object]]) -> Path:
    book = Workbook(write_only=True)
    sheet = book.create_sheet("data")
    for row in rows:
        sheet.append(list(row))
    book.create_sheet("empty")
    book.save(file)
    return file


def count(connection: psycopg.Connection, table: str) -> int:
    return int(connection.execute(f"SELECT count(*) AS n FROM {table}").fetchone()["n"])


def households(connection: psycopg.Connection) -> list[tuple[Any, ...]]:
    rows = connection.execute(
        "SELECT s.key, s.commodity, p.address, m.device_id, r.modulus, n.valid_from, g.value, y.name,"
        " y.cellphone, h.persons FROM service_point s JOIN premise p ON p.id = s.premise_id"
        " LEFT JOIN meter_installation n ON n.service_point_id = s.id LEFT JOIN meter m ON m.id = n.meter_id"
        " LEFT JOIN register r ON r.meter_id = m.id LEFT JOIN reading g ON g.register_id = r.id"
        " LEFT JOIN occupancy o ON o.service_point_id = s.id LEFT JOIN party y ON y.id = o.party_id"
        " LEFT JOIN household h ON h.service_point_id = s.id ORDER BY s.key"
    )
    return [tuple(row.values()) for row in rows]


STORED = [
    (
        "h-1", "water", ["安心e家", "1号楼", "", "", ""], "000090502121", 100_000,
        datetime(2025, 12, 31, 16, tzinfo=UTC), 12.5, "张三", "13800000001", 3,
    ),
    (
        "h-2", "electricity", ["安心e家", "2号楼", "", "", ""], "000090502122", 1_000_000,
        datetime(2026, 1, 1, 0, 30, tzinfo=UTC), 0, "李四", "", 1,
    ),
    ("h-3", "water", ["安心e家", "3号楼", "", "", ""], None, None, None, None, None, None, None),
]  # fmt: skip


class TestFiles:
    """The same households out of every kind of file."""

    @pytest.mark.parametrize(
        ("encoding", "delimiter"),
        [("utf-8", ","), ("utf-8-sig", ";"), ("gb18030", ","), ("utf-16", "\t")],
    )
    def test_csv(self, connection, tmp_path, capsys, encoding, delimiter):
        file = write_csv(tmp_path / "h.csv", (HEADINGS, *ROWS), encoding=encoding, delimiter=delimiter)
        found = report(capsys, "service-points", file, "--project", "42")
        seconds, speed = found.pop("seconds"), found.pop("rows_per_second")
        assert found == {
            "kind": "service-points",
            "file": str(file),
            "project_id": "42",
            "dry_run": False,
            "mode": "all-or-nothing",
            "rows": 3,
            "stored": 3,
            "created": 3,
            "updated": 0,
            "unchanged": 0,
            "error_count": 0,
            "errors": [],
        }
        assert seconds > 0
        assert speed > 0
        assert households(connection) == STORED

    def test_xlsx_with_cells_of_its_own_kinds(self, connection, tmp_path, capsys):
        first = (
            "h-1",
            "水",
            "安心e家",
            "1号楼",
            "000090502121",
            5.0,
            datetime(2026, 1, 1),
            12.5,
            "张三",
            13800000001,
            3,
        )
        second = (
            "h-2", "电", "安心e家", "2号楼", "000090502122", 6, datetime(2026, 1, 1, 8, 30), 0, "李四", "", 1
        )  # fmt: skip
        empty = (None,) * len(HEADINGS)
        file = write_xlsx(
            tmp_path / "h.dat", (HEADINGS, first, empty, second, ("h-3", "水", "安心e家", "3号楼"))
        )
        assert report(capsys, "service-points", file, "--project", "42")["stored"] == 3
        assert households(connection) == STORED
        again = report(capsys, "service-points", file, "--project", "42", "--sheet", "data")
        assert (again["created"], again["unchanged"]) == (0, 3)

    def test_people_are_told_in_a_line(self, database_url, tmp_path, capsys):
        file = write_csv(tmp_path / "h.csv", (HEADINGS, *ROWS))
        code, out, err = load(capsys, "service-points", file, "--project", "42")
        assert (code, err) == (0, "")
        assert out.startswith(
            "service-points of project 42: 3 of 3 rows stored (all or nothing): 3 new, 0 changed,"
        )

    def test_the_project_may_be_a_column(self, connection, tmp_path, capsys):
        rows = (
            ("项目", "Key", "Name (姓名)", "手机"),
            ("7", "a", "A", "1"),
            ("", "b", "B", ""),
            ("8", "c", "C", ""),
        )
        file = write_csv(tmp_path / "p.csv", rows[:3])
        assert report(capsys, "parties", file)["project_id"] == "7"
        assert connection.execute("SELECT DISTINCT project_id FROM party").fetchall() == [{"project_id": "7"}]
        file = write_csv(tmp_path / "p.csv", rows)
        assert errors(report(capsys, "parties", file)) == [
            (4, "项目", "is not '7': import one project at a time")
        ]


class TestFilesThatCannotBeRead:
    def refused(self, capsys, *words) -> str:
        code, out, err = load(capsys, *words, "--project", "42")
        assert (code, out) == (2, "")
        assert err.startswith("carillon: ")
        return err.removeprefix("carillon: ").rstrip("\n")

    def test_it_says_why(self, database_url, tmp_path, capsys):
        nothing = tmp_path / "none.csv"
        assert (
            self.refused(capsys, "parties", nothing)
            == f"file: {str(nothing)!r} cannot be read: No such file or directory"
        )
        for name, content, words in (
            ("empty.csv", b"", "file: is empty"),
            ("blank.csv", b"\n,,\n", "file: has no rows"),
            ("binary.csv", b"a,b\n\xff\xff\xff", "file: is text neither in UTF-8 nor in GB18030"),
            (
                "open.csv",
                b'key,name\na,"b\n',
                "file: cannot be read as CSV after row 1: unexpected end of data",
            ),
            (
                "old.xls",
                b"\xd0\xcf\x11\xe0\xa1\xb1",
                "file: cannot be read as a spreadsheet (.xls, not encrypted): Unsupported format, or corrupt"
                " file: Expected BOF record; found b'\\xd0\\xcf\\x11\\xe0\\xa1\\xb1'",
            ),
            (
                "torn.xlsx",
                b"PK\x03\x04" + b"x" * 99,
                "file: cannot be read as a spreadsheet (.xlsx): File is not a zip file",
            ),
        ):
            file = tmp_path / name
            file.write_bytes(content)
            assert self.refused(capsys, "parties", file) == words

    def test_broken_inside(self, database_url, tmp_path, capsys):
        good = write_xlsx(tmp_path / "good.xlsx", [("key", "name"), ("a", "A")])
        for part, content in (
            ("xl/worksheets/sheet1.xml", b"<worksheet><sheetData><row>"),
            ("xl/workbook.xml", b""),
        ):
            broken = tmp_path / "broken.xlsx"
            with zipfile.ZipFile(good) as old, zipfile.ZipFile(broken, "w") as new:
                for info in old.infolist():
                    new.writestr(info, content if info.filename == part else old.read(info))
            assert self.refused(capsys, "parties", broken).startswith("file: cannot be read as a spreadsheet")
        plain = tmp_path / "plain.xlsx"
        with zipfile.ZipFile(plain, "w") as new:
            new.writestr("readme.txt", "no workbook")
        assert self.refused(capsys, "parties", plain).startswith("file: cannot be read as a spreadsheet")

    def test_a_bomb(self, database_url, tmp_path, capsys):
        file = write_xlsx(tmp_path / "big.xlsx", [("key", "name"), *[("k", "A" * 10_000)] * 1_000])
        assert (
            self.refused(capsys, "parties", file)
            == "file: has a part that unpacks to more than 200 times its size: save it as CSV"
        )

    def test_columns(self, database_url, tmp_path, capsys):
        for headings, words in (
            (
                ("key", "colour"),
                "file: lacks columns name; expected key (编号), name (姓名), cellphone (phone); needed",
            ),
            (("key", "name", "颜色"), "file: has unknown columns 颜色; expected key "),
            (("key", "name", "姓名"), "file: has twice the columns name, 姓名; expected key "),
        ):
            file = write_csv(tmp_path / "p.csv", [headings, ("a", "b", "c")])
            assert self.refused(capsys, "parties", file).startswith(words)

    def test_words_on_the_command_line(self, database_url, tmp_path, capsys):
        file = write_csv(tmp_path / "p.csv", [("key", "name"), ("a", "b")])
        assert load(capsys, "parties", file)[2] == (
            "carillon: --project: is needed: the file does not name the project\n"
        )
        assert self.refused(capsys, "gadgets", file).startswith(
            "KIND: 'gadgets' is not one of service-points,"
        )
        assert self.refused(capsys, "parties", file, "--sheet", "x") == "sheet: is for spreadsheets"
        file = write_xlsx(tmp_path / "p.xlsx", [("key", "name")])
        assert (
            self.refused(capsys, "parties", file, "--sheet", "x")
            == "sheet: there is no 'x', only data, empty"
        )
        assert self.refused(capsys, "parties", file, "--sheet", "empty") == "file: has no rows"
        assert load(capsys, "parties", file, "--project", "x" * 65)[0] == 2


class TestErrors:
    def test_cells_that_cannot_be_used(self, connection, tmp_path, capsys):
        rows = [list(row) for row in ROWS]
        rows[0][1], rows[0][10] = "gas", "many"
        rows[1][6] = "soon"
        rows[2][0] = "h-1"
        file = write_csv(tmp_path / "h.csv", (HEADINGS, *rows, [*ROWS[2], "more"]))
        found = report(capsys, "service-points", file, "--project", "42")
        assert (found["rows"], found["stored"]) == (4, 0)
        assert errors(found) == [
            (2, "类型", "must be 'water' or 'electricity'"),
            (2, "人数", "must be a valid integer, unable to parse string as an integer"),
            (
                3,
                "装表时间",
                "must be a moment such as 2026-11-22 09:30, 2026/11/22 or 2026-11-22T09:30:00+08:00",
            ),
            (5, "", "'more' stands in a column without heading"),
        ]
        assert count(connection, "service_point") == 0

    def test_a_key_twice(self, connection, tmp_path, capsys):
        file = write_csv(tmp_path / "p.csv", [("key", "name"), ("a", "A"), ("", ""), ("b", "B"), ("a", "C")])
        found = report(capsys, "parties", file, "--project", "42")
        assert errors(found) == [(5, "key", "stands in row 2 already")]
        assert count(connection, "party") == 0

    def test_people_see_the_first_fifty(self, database_url, tmp_path, capsys):
        rows = [("key", "name"), *((f"k{n}", " ") for n in range(60))]
        code, out, err = load(capsys, "parties", write_csv(tmp_path / "p.csv", rows), "--project", "42")
        assert code == 2
        assert "0 of 60 rows stored" in out
        assert "and 10 more" in err
        assert "is required" in err

    def test_what_is_stored_contradicts(self, connection, tmp_path, capsys):
        report(capsys, "service-points", write_csv(tmp_path / "a.csv", (HEADINGS, *ROWS)), "--project", "42")
        moved = ["h-9", *ROWS[0][1:]]
        file = write_csv(tmp_path / "b.csv", (HEADINGS, ["h-8", "水", "x"], moved))
        found = report(capsys, "service-points", file, "--project", "42")
        assert errors(found) == [(3, "表号", "is at service point 'h-1' from 2025-12-31T16:00:00+00:00")]
        assert (found["stored"], count(connection, "service_point")) == (0, 3)


class TestAmounts:
    @pytest.fixture
    def parties(self, tmp_path):
        rows = [("key", "name"), *((f"k{n:05}", f"name {n}") for n in range(20_000))]
        return write_csv(tmp_path / "p.csv", rows)

    def test_twenty_thousand_households(self, connection, tmp_path, capsys):
        rows = (
            (
                f"h-{n}",
                "water",
                "Court",
                str(n),
                f"m{n}",
                5,
                "2026-01-01",
                n % 7,
                f"Resident {n}",
                n,
                1 + n % 4,
            )
            for n in range(20_000)
        )
        file = write_csv(tmp_path / "h.csv", (HEADINGS, *rows))
        found = report(capsys, "service-points", file, "--project", "42")
        assert (found["mode"], found["stored"], found["created"]) == ("all-or-nothing", 20_000, 20_000)
        for table in ("premise", "meter", "reading", "occupancy", "household"):
            assert count(connection, table) == 20_000

    def test_dry_run(self, connection, parties, capsys):
        for mode in ("--all-or-nothing", "--by-chunks"):
            found = report(capsys, "parties", parties, "--project", "42", "--dry-run", mode)
            assert (found["dry_run"], found["stored"], count(connection, "party")) == (True, 20_000, 0)

    def test_by_chunks_the_good_ones_stay(self, connection, tmp_path, capsys, monkeypatch):
        report(
            capsys,
            "premises",
            write_csv(tmp_path / "h.csv", [("key", "address1"), ("h1", "x")]),
            "--project",
            "42",
        )
        report(
            capsys, "service-points",
            write_csv(tmp_path / "s.csv", [("key", "commodity", "premise"), ("p1", "water", "h1")]),
            "--project", "42",
        )  # fmt: skip
        report(
            capsys, "parties",
            write_csv(tmp_path / "p.csv", [("key", "name"), *((f"k{n}", "x") for n in range(12) if n != 7)]),
            "--project", "42",
        )  # fmt: skip
        monkeypatch.setattr(import_command, "CHUNK_ROWS", 5)
        rows = [("计量点", "住户", "入住时间"), *(("p1", f"k{n}", "2026-01-01") for n in range(12))]
        file = write_csv(tmp_path / "o.csv", rows)
        found = report(capsys, "occupancies", file, "--project", "42", "--by-chunks")
        assert errors(found) == [(9, "住户", "there is no party 'k7'")]
        assert (found["mode"], found["stored"], found["created"]) == ("by-chunks", 7, 7)
        assert count(connection, "occupancy") == 7
        found = report(capsys, "occupancies", file, "--project", "42")
        assert (found["stored"], found["created"], found["error_count"]) == (0, 0, 1)

    def test_large_files_go_by_chunks_unless_told(self, connection, parties, capsys, monkeypatch):
        monkeypatch.setattr(import_command, "TOGETHER_MOST", 19_999)
        assert report(capsys, "parties", parties, "--project", "42")["mode"] == "by-chunks"
        found = report(capsys, "parties", parties, "--project", "42", "--all-or-nothing")
        assert (found["mode"], found["unchanged"]) == ("all-or-nothing", 20_000)


class TestKinds:
    def test_one_after_the_other(self, connection, tmp_path, capsys):
        def put(kind: str, *rows: Sequence[object]) -> tuple[int, int]:
            found = report(capsys, kind, write_csv(tmp_path / "x.csv", rows), "--project", "42")
            assert found["errors"] == []
            return found["rows"], found["created"]

        assert put("premises", ("编号", "地址1", "Address 2", "面积"), ("h1", "a", "b", "88.5")) == (1, 1)
        assert put("usage-classes", ("key", "日用量"), ("small", "0.35")) == (1, 1)
        columns = ("key", "commodity", "premise", "用水性质")
        assert put("service-points", columns, ("p1", "electricity", "h1", "small")) == (1, 1)
        columns = ("表号", "类型", "费率", "倍率", "位数")
        tou = [("m1", "电", kind, "40", "6") for kind in ("总", "峰", "谷")]
        assert put("meters", columns, *tou, ("m2", "水", "", "", "")) == (4, 2)
        columns = ("计量点", "表号", "装表时间", "费率", "起码")
        stay = [("p1", "m1", "2026-01-01", kind, n) for n, kind in enumerate(("TOTAL", "峰", "谷"))]
        assert put("installations", columns, *stay) == (3, 1)
        assert put("parties", ("key", "name", "phone"), ("ann", "Ann", "1")) == (1, 1)
        assert put(
            "occupancies",
            ("service_point", "party", "moved_in_at", "persons"),
            ("p1", "ann", "2026-01-02", 2),
        ) == (1, 1)
        columns = ("表号", "抄表时间", "读数", "时段")
        values = [("m1", f"2026-01-{day:02} 08:00", day, "峰") for day in range(2, 12)]
        assert put("readings", columns, *values) == (10, 10)
        assert put("readings", columns, *values) == (10, 0)
        row = connection.execute(
            "SELECT max(g.total) AS total, count(*) AS n"
            " FROM reading g JOIN register r ON r.id = g.register_id"
            " WHERE r.kind = 'PEAK' AND g.source = 'import'"
        ).fetchone()
        assert (row["total"], row["n"]) == (11, 10)

    def test_readings_that_cannot_be_used(self, connection, tmp_path, capsys):
        columns = ("表号", "抄表时间", "读数")
        file = write_csv(
            tmp_path / "r.csv", [columns, ("nix", "2026-01-01", "1"), ("nix", "2026-01-02", "-1")]
        )
        found = report(capsys, "readings", file, "--project", "42")
        assert (found["errors"][0]["row"], found["errors"][0]["column"]) == (3, "读数")
        assert count(connection, "reading") == 0

    def test_rows_of_one_meter_stay_together(self, connection, tmp_path, capsys, monkeypatch):
        monkeypatch.setattr(import_command, "CHUNK_ROWS", 2)
        rows = [(f"m{n}", "electricity", kind) for n in range(3) for kind in ("TOTAL", "PEAK", "VALLEY")]
        file = write_csv(tmp_path / "m.csv", [("device_id", "commodity", "register"), *rows])
        found = report(capsys, "meters", file, "--project", "42", "--by-chunks")
        assert (found["stored"], found["created"], count(connection, "register")) == (9, 3, 9)
        rows = [*rows[:3], rows[4], ("m0", "electricity", "FLAT"), ("m9", "electricity", "NIGHT")]
        file = write_csv(tmp_path / "m.csv", [("device_id", "commodity", "register"), *rows])
        found = report(capsys, "meters", file, "--project", "42")
        assert [one[:2] for one in errors(found)] == [(6, "device_id"), (7, "register")]
