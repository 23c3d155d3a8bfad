"""Reading uploaded lists of devices: which columns, which rows, and what is said of wrong ones."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
import xlsxwriter

from include.batch_files.model import Contents, UnusableRowsError
from include.batch_files.reading import read_targets
from include.errors import InvalidInputError
from include.kit.secrets import decrypt


def write(file: Path, rows, *, encoding: str = "utf-8") -> Path:
    with file.open("w", encoding=encoding, newline="") as text:
        csv.writer(text).writerows(rows)
    return file


def read(file: Path, *, rows_most: int = 100) -> tuple[Contents, list[tuple[int, dict]]]:
    spool = io.StringIO()
    contents = read_targets(file, spool, rows_most=rows_most)
    lines = [line.split("\t") for line in spool.getvalue().splitlines()]
    # As COPY reads it.
    return contents, [(int(number), json.loads(text.replace("\\\\", "\\"))) for number, text in lines]


def refused(file: Path, *, rows_most: int = 100) -> str:
    with pytest.raises(InvalidInputError) as raised:
        read(file, rows_most=rows_most)
    assert raised.value.field == "file"
    return raised.value.message


class TestColumns:
    def test_by_the_names_of_the_calls(self, tmp_path):
        told = {
            "device_id": "d-1",
            "node_id": "n 1",
            "product_id": "valve",
            "device_name": 'north "1"',
            "device_description": "two\nlines \\ and a tab\t",
            "gateway_id": "hub",
            "app_id": "app",
            "auth_type": "secret",
            "secret": "a-secret-1",
            "tags": "site=north; floor=3",
            "extension_info": '{"pipe": ["DN20"]}',
        }
        contents, [(number, cells)] = read(write(tmp_path / "a.csv", [list(told), list(told.values())]))
        assert contents == Contents(
            [
                "device_id", "node_id", "product_id", "name", "description", "gateway_id", "app_id",
                "auth_type", "secret", "tags", "extension_info",
            ],
            1,
        )  # fmt: skip
        assert number == 2
        sealed = cells.pop("secret")
        assert (decrypt(sealed), "a-secret" in sealed) == ("a-secret-1", False)
        assert cells == {
            "device_id": "d-1",
            "node_id": "n 1",
            "product_id": "valve",
            "name": 'north "1"',
            "description": "two\nlines \\ and a tab",
            "gateway_id": "hub",
            "app_id": "app",
            "auth_type": "SECRET",
            "tags": {"site": "north", "floor": "3"},
            "extension_info": {"pipe": ["DN20"]},
        }

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
    def test_by_words_of_templates(self, tmp_path, encoding):
        headings = (
            "*设备标识码（必填）",
            "产品ID",
            "设备名称",
            "设备描述",
            "认证类型",
            "证书指纹",
            "Gateway ID",
        )
        row = ("n1", "valve", "阀门一号", "北区", "证书", "AB" * 20, "")
        contents, rows = read(write(tmp_path / "a.csv", [headings, row], encoding=encoding))
        assert contents.columns == [
            "node_id", "product_id", "name", "description", "auth_type", "fingerprint", "gateway_id",
        ]  # fmt: skip
        assert rows == [
            (
                2,
                {
                    "device_id": "valve_n1",
                    "node_id": "n1",
                    "product_id": "valve",
                    "name": "阀门一号",
                    "description": "北区",
                    "auth_type": "CERTIFICATES",
                    "fingerprint": "ab" * 20,
                },
            )
        ]

    def test_of_a_spreadsheet(self, tmp_path):
        with xlsxwriter.Workbook(tmp_path / "a.xlsx") as book:
            sheet = book.add_worksheet()
            table = [
                ["node_id", "product_id", "name"],
                ["00123", "valve", 1.0],
                [],
                [90502121, "valve", None],
            ]
            for number, cells in enumerate(table):
                sheet.write_row(number, 0, cells)
        contents, rows = read(tmp_path / "a.xlsx")
        assert contents.rows == 2
        assert [(number, cells["device_id"], cells.get("name")) for number, cells in rows] == [
            (2, "valve_00123", "1"),
            (4, "valve_90502121", None),
        ]

    def test_that_cannot_be(self, tmp_path):
        expected = "; expected device_id (设备id), node_id (设备标识码), product_id (产品id)"
        for headings, words in (
            (("device_id", "colour", "颜色"), f"has unknown columns colour, 颜色{expected}"),
            (("device_id", "设备ID"), f"has twice the columns device_id, 设备ID{expected}"),
            (("node_id", "name"), "lacks the column device_id, or product_id and node_id"),
            (("name",), "lacks the column device_id, or product_id and node_id"),
        ):
            file = write(tmp_path / "a.csv", [headings, ("a", "b", "c")])
            assert refused(file).startswith(f"1 problem: row 1: {words}")
        late = write(tmp_path / "a.csv", [(), ("", ""), ("colour",), ("red",)])
        assert refused(late).startswith("1 problem: row 3: has unknown columns colour; expected device_id")
        assert refused(write(tmp_path / "a.csv", [("device_id",), ("",)])) == "has no rows but the headings"
        assert refused(write(tmp_path / "a.csv", [("", "")])) == "has no rows"
        (tmp_path / "a.csv").write_bytes(b"")
        assert refused(tmp_path / "a.csv") == "is empty"


class TestRows:
    HEADINGS = ("device_id", "node_id", "产品", "name", "auth_type", "secret", "tags", "extension_info")

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"device_id": "a/b"}, "row 2: device_id: must have 1 to 128 characters of A-Z a-z 0-9 _ -"),
            ({"device_id": "d" * 129}, "row 2: device_id: must have 1 to 128 characters of A-Z a-z 0-9 _ -"),
            ({"node_id": "n" * 65}, "row 2: node_id: must have 1 to 64 characters"),
            ({"产品": "p" * 37}, "row 2: 产品: must have 1 to 36 characters"),
            ({"name": "n" * 257}, "row 2: name: must have 1 to 256 characters"),
            ({"auth_type": "none"}, "row 2: auth_type: must be 'SECRET' or 'CERTIFICATES'"),
            ({"secret": "1234567"}, "row 2: secret: must have 8 to 32 printable ASCII characters"),
            ({"secret": "s" * 33}, "row 2: secret: must have 8 to 32 printable ASCII characters"),
            ({"tags": "a=1;a=2"}, "row 2: tags: must be like city=Berlin; floor=3, each key once"),
            ({"extension_info": "{"}, "row 2: extension_info: must be a JSON object"),
            ({"extension_info": "[]"}, "row 2: extension_info: must be a valid dictionary"),
            (
                {"extension_info": f'{{"a": "{"x" * 1017}"}}'},
                "row 2: extension_info: must have at most 1024 bytes",
            ),
            ({"device_id": "", "name": "lost"}, "row 2: device_id is needed, or product_id and node_id"),
            (
                {"device_id": "", "node_id": "a b", "产品": "p"},
                "row 2: device_id is needed:"
                " {product_id}_{node_id} is too long or has more than A-Z a-z 0-9 _ -",
            ),
            ({"name": "#REF!"}, "row 2: name: holds the error #REF!"),
        ],
    )
    def test_that_cannot_be_used(self, tmp_path, changes, words):
        row = [{"device_id": "d1", **changes}.get(name, "") for name in self.HEADINGS]
        assert refused(write(tmp_path / "a.csv", [self.HEADINGS, row])) == f"1 problem: {words}"

    def test_at_their_limits(self, tmp_path):
        extension = f'{{"a": "{"x" * 1016}"}}'
        row = ("d" * 128, "n" * 64, "p" * 36, "n" * 256, "SECRET", "s" * 32, "", extension)
        assert len(read(write(tmp_path / "a.csv", [self.HEADINGS, row]))[1]) == 1

    def test_a_cell_beside_the_table(self, tmp_path):
        file = write(tmp_path / "a.csv", [("device_id", "", "name"), ("d1", "x", "", "y")])
        assert refused(file) == (
            "2 problems: row 2: 'x' stands in a column without heading;"
            " row 2: 'y' stands in a column without heading"
        )

    def test_twice(self, tmp_path):
        rows = [("d1", "", ""), ("", "n1", "p"), ("p_n1", "", ""), ("d1", "", "")]
        file = write(tmp_path / "a.csv", [("device_id", "node_id", "product_id"), *rows])
        assert refused(file) == (
            "2 problems: row 4: device_id: 'p_n1' stands in row 3 already;"
            " row 5: device_id: 'd1' stands in row 2 already"
        )

    def test_the_first_twenty_are_told(self, tmp_path):
        rows = [(f"d {number}",) for number in range(30)]
        with pytest.raises(UnusableRowsError) as raised:
            read(write(tmp_path / "a.csv", [("device_id",), *rows]))
        problems = [(one.row, one.field) for one in raised.value.problems]
        assert problems == [(number, "device_id") for number in range(2, 22)]
        assert raised.value.message.startswith("30 problems: row 2: device_id: must have 1 to 128 ")
        assert raised.value.message.endswith("; and 10 more")

    def test_how_many(self, tmp_path):
        rows = [(f"d{number}",) for number in range(5)]
        file = write(tmp_path / "a.csv", [("device_id",), *rows])
        assert len(read(file, rows_most=5)[1]) == 5
        assert refused(file, rows_most=4) == "has more than 4 rows"
