"""Tables out of files: what openpyxl, xlwt and people write, and what nobody should do with them."""

from __future__ import annotations

import csv
import subprocess
import sys
import zipfile
from datetime import date, datetime, time
from pathlib import Path

import pytest
import xlsxwriter
import xlwt
from openpyxl import Workbook
from openpyxl.utils.datetime import CALENDAR_MAC_1904

from include.cli.home import ROOT
from include.errors import InvalidInputError
from include.kit.tables import open_table
from include.kit.xlsx import Weights

HEAD = ["device_id", "name"]
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
SHEET = "xl/worksheets/sheet1.xml"


def rows(file: Path, **options) -> list[tuple[int, list[str]]]:
    return list(open_table(file, **options).rows())


def xlsx(file: Path, table, *, styles=None, epoch=None) -> Path:
    """A spreadsheet as openpyxl writes it: the texts in the cells."""
    book = Workbook()
    if epoch:
        book.epoch = epoch
    sheet = book.create_sheet("first", 0)
    for row in table:
        sheet.append(row)
    for place, style in (styles or {}).items():
        sheet[place].number_format = style
    book.create_sheet("second").append(["x"])
    book.save(file)
    return file


def shared_xlsx(file: Path, table) -> Path:
    """A spreadsheet as XlsxWriter writes it, as the usual programs do: the texts in a table of their own."""
    with xlsxwriter.Workbook(file) as book:
        sheet = book.add_worksheet("first")
        formats = {
            kind: book.add_format({"num_format": code})
            for kind, code in ((datetime, "yyyy/m/d h:mm"), (date, "yyyy/m/d"), (time, "h:mm"))
        }
        for number, cells in enumerate(table):
            for place, cell in enumerate(cells):
                sheet.write(number, place, cell, formats.get(type(cell)))
    return file


def with_part(file: Path, part: str, content: bytes) -> Path:
    """The same spreadsheet with another part in it."""
    other = file.with_name("other.xlsx")
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(other, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            if info.filename != part:
                new.writestr(info, old.read(info))
        new.writestr(part, content)
    return other


def with_sheet(tmp_path: Path, inside: str, *, head: str = "") -> Path:
    xml = f'{head}<worksheet xmlns="{MAIN}"><sheetData>{inside}</sheetData></worksheet>'
    return with_part(xlsx(tmp_path / "good.xlsx", [HEAD]), SHEET, xml.encode())


def refused(file: Path, **options) -> str:
    with pytest.raises(InvalidInputError) as raised:
        rows(file, **options)
    assert raised.value.field == "file"
    return raised.value.message


class TestSpreadsheet:
    @pytest.mark.parametrize("write", [xlsx, shared_xlsx])
    def test_cells_as_they_would_stand_in_a_csv_file(self, tmp_path, write):
        table = [
            HEAD,
            ["00123", "  水表 <1>  "],
            [90502121, 1.0],
            [866123456789012.0, 0.1],
            [None, None],
            [True, False],
            [datetime(2026, 11, 22, 9, 30), date(2026, 1, 1)],
            [time(8, 30), "two\nlines"],
            ["#N/A", None, "far", None],
            [1e-7, -2.5],
        ]
        assert rows(write(tmp_path / "a.dat", table)) == [
            (1, HEAD),
            (2, ["00123", "水表 <1>"]),
            (3, ["90502121", "1"]),
            (4, ["866123456789012", "0.1"]),
            (6, ["TRUE", "FALSE"]),
            (7, ["2026-11-22 09:30:00", "2026-01-01 00:00:00"]),
            (8, ["08:30:00", "two\nlines"]),
            (9, ["#N/A", "", "far"]),
            (10, ["0.0000001", "-2.5"]),
        ]

    def test_which_formats_show_a_moment(self, tmp_path):
        table = [[45000] * 4 + [0.5, 45000]]
        styles = {
            "A1": "yyyy/m/d",
            "B1": '0 "days"',
            "C1": "[Red]0.00",
            "D1": '[$-804]yyyy"年"m"月"',
            "E1": "[h]:mm",
            "F1": "mm-dd-yy",
        }
        assert rows(xlsx(tmp_path / "a.xlsx", table, styles=styles)) == [
            (
                1,
                [
                    "2023-03-15 00:00:00",
                    "45000",
                    "45000",
                    "2023-03-15 00:00:00",
                    "12:00:00",
                    "2023-03-15 00:00:00",
                ],
            )
        ]

    def test_the_calendar_that_begins_in_1904(self, tmp_path):
        table = [[datetime(2026, 11, 22, 9, 30, 15)]]
        file = xlsx(tmp_path / "a.xlsx", table, epoch=CALENDAR_MAC_1904)
        assert rows(file) == [(1, ["2026-11-22 09:30:15"])]

    def test_the_days_before_march_1900(self, tmp_path):
        file = xlsx(
            tmp_path / "a.xlsx", [[1, 59, 61]], styles=dict.fromkeys(("A1", "B1", "C1"), "yyyy-mm-dd")
        )
        assert rows(file) == [(1, ["1900-01-01 00:00:00", "1900-02-28 00:00:00", "1900-03-01 00:00:00"])]

    def test_another_sheet(self, tmp_path):
        file = xlsx(tmp_path / "a.xlsx", [HEAD])
        assert rows(file, sheet="second") == [(1, ["x"])]
        with pytest.raises(InvalidInputError, match="there is no 'third', only first, Sheet, second"):
            rows(file, sheet="third")

    def test_as_other_programs_write_it(self, tmp_path):
        """A prefix for every tag, neither row nor cell numbers, formatted texts, how a text is pronounced."""
        xml = (
            f'<x:worksheet xmlns:x="{MAIN}"><x:cols/><x:sheetData>'
            '<x:row><x:c t="inlineStr"><x:is><x:r><x:t>a</x:t></x:r><x:r><x:t>b</x:t></x:r>'
            '<x:rPh sb="0" eb="1"><x:t>sound</x:t></x:rPh></x:is></x:c><x:c><x:v>1</x:v></x:c></x:row>'
            '<x:row r="7"><x:c r="C7" t="str"><x:f>A1</x:f><x:v>_x0041_&amp;</x:v></x:c>'
            '<x:c r="A7"><x:v>2</x:v></x:c><x:c r="IW7"><x:v>3</x:v></x:c></x:row>'
            "</x:sheetData></x:worksheet>"
        )
        file = with_part(xlsx(tmp_path / "good.xlsx", [HEAD]), SHEET, xml.encode("utf-16"))
        assert rows(file) == [(1, ["ab", "1"]), (7, ["2", "", "A&"])]

    def test_formulas(self, tmp_path):
        file = with_sheet(
            tmp_path, '<row r="3"><c r="A3"><f>1+1</f><v>2</v></c><c t="str"><f>""</f><v/></c></row>'
        )
        assert rows(file) == [(3, ["2"])]
        file = with_sheet(tmp_path, '<row r="3"><c r="A3"><f>1+1</f></c></row>')
        assert refused(file) == (
            "row 3 has a formula without its value: open the file in a spreadsheet program and save it"
        )


class TestBrokenSpreadsheets:
    def test_what_is_no_spreadsheet(self, tmp_path):
        good = xlsx(tmp_path / "good.xlsx", [HEAD])
        for part, content, words in (
            (SHEET, b"<worksheet><sheetData><row>", "no element found: line 1, column 27"),
            ("xl/workbook.xml", b"", "no element found: line 1, column 0"),
            ("_rels/.rels", b"<Relationships/>", "it has no workbook"),
        ):
            expected = f"cannot be read as a spreadsheet (.xlsx): {words}"
            assert refused(with_part(good, part, content)) == expected

    @pytest.mark.parametrize(
        ("inside", "words"),
        [
            ('<row r="2"/><row r="2"/>', "row 2 follows row 2"),
            ('<row r="1048577"/>', "row 1048577 follows row 0"),
            ('<row r="x"/>', "invalid literal for int() with base 10: 'x'"),
            ('<row><c r="é1"><v>1</v></c></row>', "'é' is not a column"),
            ('<row><c r="AAAAAAA1"><v>1</v></c></row>', "'AAAAAAA' is not a column"),
            ('<row><c t="s"><v>2</v></c></row>', "row 1 refers to a text that is not there"),
            ('<row><c t="s"><v>-1</v></c></row>', "row 1 refers to a text that is not there"),
            ("<row><c><v>1e999</v></c></row>", "inf is not a number"),
            ("<row><c><v>ten</v></c></row>", "could not convert string to float: 'ten'"),
        ],
    )
    def test_cells_that_cannot_be(self, tmp_path, inside, words):
        assert refused(with_sheet(tmp_path, inside)) == f"cannot be read as a spreadsheet (.xlsx): {words}"

    def test_a_date_that_is_none(self, tmp_path):
        file = xlsx(tmp_path / "a.xlsx", [[1e9]], styles={"A1": "yyyy-mm-dd"})
        assert refused(file) == "cannot be read as a spreadsheet (.xlsx): 1000000000.0 is not a date"

    def test_torn(self, tmp_path):
        good = xlsx(tmp_path / "good.xlsx", [HEAD, *([f"d{n}", f"name {n}"] for n in range(2000))])
        content = bytearray(good.read_bytes())
        at = content.index(SHEET.encode()) + 2000
        content[at : at + 50] = bytes(50)
        good.write_bytes(content)
        assert refused(good).startswith("cannot be read as a spreadsheet (.xlsx): ")


class TestBombs:
    """Each would take gigabytes where the whole is read, or kept, at once."""

    def test_by_the_directory(self, tmp_path):
        file = with_sheet(tmp_path, "<row/>" * 400_000)
        expected = "has a part that unpacks to more than 200 times its size: save it as CSV"
        assert refused(file) == expected
        plain = shared_xlsx(
            tmp_path / "plain.xlsx", [HEAD, *([f"d{n}", f"this is the name of {n}"] for n in range(20_000))]
        )
        assert len(rows(plain, weights=Weights(4 * 2**20, 2 * 2**20))) == 20_001
        for weights in (Weights(2**20, 2 * 2**20), Weights(4 * 2**20, 2**20)):
            words = "is larger than 1 MiB when unpacked: save it as CSV"
            assert refused(plain, weights=weights) == words

    def test_a_directory_that_lies(self, tmp_path):
        file = with_sheet(tmp_path, "<row/>" * 400_000)
        with zipfile.ZipFile(file) as archive:
            size = archive.getinfo(SHEET).file_size
        content = file.read_bytes()
        assert content.count(size.to_bytes(4, "little")) == 2
        file.write_bytes(content.replace(size.to_bytes(4, "little"), (1000).to_bytes(4, "little")))
        words = f"cannot be read as a spreadsheet (.xlsx): Bad CRC-32 for file '{SHEET}'"
        assert refused(file) == words

    @pytest.mark.parametrize(
        ("inside", "words"),
        [
            ("<row><c/>" + "".join(f"<t{n}/>" for n in range(80_000)), "has tags that no spreadsheet has"),
            ("<c " + "".join(f'a{n}="" ' for n in range(150_000)) + "/>", "has tags that no spreadsheet has"),
            (f'<row a="{"".join(map(str, range(300_000)))}"/>', "has tags that no spreadsheet has"),
            ("".join(f"<t{n * 7919 % 9973}>" for n in range(100_000)), "its tags are nested deeper than 64"),
            (
                f"<row><c><v>{''.join(map(str, range(9_000)))}</v></c></row>",
                "row 1 has a cell of more than 32767 characters",
            ),
        ],
        ids=["names", "attributes", "value", "depth", "text"],
    )
    def test_inside(self, tmp_path, inside, words):
        assert refused(with_sheet(tmp_path, inside)).endswith(words)

    def test_a_row_without_an_end(self, tmp_path):
        inside = "<row>" + "".join(f'<c t="n"><v>{n}</v></c>' for n in range(50_000)) + "</row>"
        [(number, cells)] = rows(with_sheet(tmp_path, inside))
        assert (number, len(cells)) == (1, 256)

    def test_entities(self, tmp_path):
        head = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'
        file = with_sheet(tmp_path, '<row><c t="str"><v>&b;</v></c></row>', head=head)
        assert refused(file) == "cannot be read as a spreadsheet (.xlsx): it declares a document type"


class TestOldSpreadsheet:
    def test_cells(self, tmp_path):
        book = xlwt.Workbook()
        sheet = book.add_sheet("first")
        moment = xlwt.easyxf(num_format_str="yyyy-mm-dd hh:mm")
        table = (HEAD, ["00123", " 水表 "], [], [90502121, 1.0], [0.1, True], [datetime(2026, 11, 22, 9, 30)])
        for row, cells in enumerate(table):
            for column, cell in enumerate(cells):
                style = moment if isinstance(cell, datetime) else xlwt.Style.default_style
                sheet.write(row, column, cell, style)
        sheet.write(9, 255, "far")
        book.save(str(tmp_path / "a.xls"))
        *first, (number, far) = rows(tmp_path / "a.xls")
        assert first == [
            (1, HEAD),
            (2, ["00123", "水表"]),
            (4, ["90502121", "1"]),
            (5, ["0.1", "TRUE"]),
            (6, ["2026-11-22 09:30:00"]),
        ]
        assert (number, len(far), far[-1]) == (10, 256, "far")

    def test_broken(self, tmp_path, capfd):
        book = xlwt.Workbook()
        book.add_sheet("first").write(0, 0, "device_id")
        good = tmp_path / "a.xls"
        book.save(str(good))
        torn = tmp_path / "torn.xls"
        torn.write_bytes(good.read_bytes()[:600])
        assert refused(torn).startswith("cannot be read as a spreadsheet (.xls, not encrypted): ")
        assert capfd.readouterr() == ("", "")


class TestMemory:
    """A hundred thousand rows: what is held must not grow with them."""

    ROWS = 100_000
    READ = """
import resource, sys
from pathlib import Path
from include.kit.tables import open_table

for number, _ in open_table(Path(sys.argv[1])).rows():
    if number == 1000:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(number, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""

    def table(self):
        yield HEAD
        for number in range(self.ROWS):
            yield [f"valve_{number:06d}", f"the valve with the number {number} in the north"]

    def growth(self, file: Path) -> int:
        """Return by how many MiB a process grows from the first thousand rows to the last."""
        answer = subprocess.run(
            [sys.executable, "-c", self.READ, str(file)], capture_output=True, text=True, cwd=ROOT, check=True
        )
        number, growth = map(int, answer.stdout.split())
        assert number == self.ROWS + 1
        return growth // 1024

    def test_csv_and_texts_in_cells(self, tmp_path):
        text = tmp_path / "a.csv"
        with text.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(self.table())
        assert self.growth(text) < 8  # the cells alone would be 25
        assert self.growth(xlsx(tmp_path / "a.xlsx", self.table())) < 8
