"""/v5/iot/{project_id}/batchtask-files: by the vendor's SDK, and what no SDK would send."""

from __future__ import annotations

import asyncio
import csv
import io
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
import xlsxwriter
import xlwt
from huaweicloudsdkcore.http.formdata import FormFile
from huaweicloudsdkiotda import v5 as iotda
from openpyxl import Workbook

from include.batch.expansion import expand
from include.batch.repository import TaskRepository
from include.batch_files.service import resolve_file
from include.cli.home import ROOT
from include.errors import InvalidInputError, NotFoundError
from include.kit.clock import system_clock
from include.settings import get_settings
from tests.builders import make_token
from tests.integration.api_plugin.iot_batch.iot_wire import PROJECT

TABLE = [("device_id", "设备名称"), ("d1", "阀门一号"), ("d2", "")]


def csv_of(table, *, encoding="utf-8") -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(table)
    return text.getvalue().encode(encoding)


def write(file: Path, table=TABLE) -> Path:
    """A file of the kind that its name says."""
    if file.suffix == ".csv":
        file.write_bytes(csv_of(table, encoding="gb18030"))
    elif file.suffix == ".xls":
        book = xlwt.Workbook()
        sheet = book.add_sheet("first")
        for row, cells in enumerate(table):
            for column, cell in enumerate(cells):
                sheet.write(row, column, cell)
        book.save(str(file))
    else:
        with xlsxwriter.Workbook(file) as book:
            sheet = book.add_worksheet()
            for row, cells in enumerate(table):
                sheet.write_row(row, 0, cells)
    return file


async def upload(sdk, file: Path):
    with file.open("rb") as stream:
        body = iotda.UploadBatchTaskFileRequestBody(file=FormFile(stream))
        return await sdk.call("upload_batch_task_file", body=body)


async def refused(sdk, file: Path):
    with file.open("rb") as stream:
        body = iotda.UploadBatchTaskFileRequestBody(file=FormFile(stream))
        return await sdk.refused("upload_batch_task_file", body=body)


def stored(connection, name: str):
    rows = connection.execute(
        "SELECT r.row, r.cells FROM batch_file_row r JOIN batch_file f ON f.id = r.file_id"
        " WHERE f.file_name = %s ORDER BY r.row",
        [name],
    )
    return [(row["row"], row["cells"]) for row in rows]


class TestByTheSdk:
    @pytest.mark.parametrize("name", ["targets.xlsx", "targets.xls", "targets.csv", "设备.xlsx"])
    async def test_upload_list_delete(self, sdk, connection, tmp_path, name):
        made = await upload(sdk, write(tmp_path / name))
        assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", made["file_id"])
        assert re.fullmatch(r"\d{8}T\d{6}Z", made["upload_time"])
        assert made == {**made, "file_name": name}
        assert stored(connection, name) == [
            (2, {"device_id": "d1", "name": "阀门一号"}),
            (3, {"device_id": "d2"}),
        ]
        assert await sdk.call("list_batch_task_files") == {"files": [made]}
        assert await sdk.call("delete_batch_task_file", file_id=made["file_id"]) is None
        assert await sdk.call("list_batch_task_files") == {"files": []}
        assert await sdk.refused("delete_batch_task_file", file_id=made["file_id"]) == (
            404,
            "IOTDA.014600",
            f"there is no file {made['file_id']!r}",
        )
        assert connection.execute("SELECT count(*) AS n FROM batch_file_row").fetchone()["n"] == 0

    async def test_a_name_once_and_ten_files(self, sdk, tmp_path):
        for number in range(10):
            await upload(sdk, write(tmp_path / f"{number}.csv"))
        assert await refused(sdk, tmp_path / "3.csv") == (
            400,
            "IOTDA.014602",
            "there is a file '3.csv' already",
        )
        assert await refused(sdk, write(tmp_path / "ten.csv")) == (
            400,
            "IOTDA.000006",
            "there are 10 files already: delete one, or wait until one is old",
        )
        files = (await sdk.call("list_batch_task_files"))["files"]
        assert [one["file_name"] for one in files] == [f"{number}.csv" for number in reversed(range(10))]
        await sdk.call("delete_batch_task_file", file_id=files[4]["file_id"])
        await upload(sdk, tmp_path / "ten.csv")

    async def test_files_age_out(self, sdk, connection, database, tmp_path):
        made = await upload(sdk, write(tmp_path / "a.csv"))
        [row] = connection.execute("SELECT expires_at - uploaded_at AS life FROM batch_file")
        assert row["life"] == timedelta(hours=1)
        connection.execute("UPDATE batch_file SET expires_at = now()")
        assert await sdk.call("list_batch_task_files") == {"files": []}
        assert (await sdk.refused("delete_batch_task_file", file_id=made["file_id"]))[1] == "IOTDA.014600"
        async with database.transaction() as session:
            with pytest.raises(NotFoundError):
                await resolve_file(session, PROJECT, "deleteDevices", made["file_id"])
        # A task that has still to take its targets keeps the rows; the next upload ends the others.
        connection.execute(
            "INSERT INTO batch_task (task_id, project_id, task_name, task_type, document_source, created_at,"
            " updated_at) VALUES (%s, %s, 'n', 'deleteDevices', %s, now(), now())",
            ["a" * 24, PROJECT, made["file_id"]],
        )
        await upload(sdk, tmp_path / "a.csv")
        assert connection.execute("SELECT count(*) AS n FROM batch_file").fetchone()["n"] == 2
        connection.execute("DELETE FROM batch_task")
        await upload(sdk, write(tmp_path / "b.csv"))
        assert connection.execute("SELECT count(*) AS n FROM batch_file").fetchone()["n"] == 2

    async def test_somebody_elses_files(self, sdk, sdk_of, database, tmp_path):
        made = await upload(sdk, write(tmp_path / "a.csv"))
        other = sdk_of(token=await make_token(database, projects=[PROJECT]))
        assert await other.call("list_batch_task_files") == {"files": []}
        assert (await other.refused("delete_batch_task_file", file_id=made["file_id"]))[0] == 404
        await upload(other, tmp_path / "a.csv")
        elsewhere = sdk_of(token=await make_token(database, projects=["another"]))
        assert (await elsewhere.refused("list_batch_task_files"))[:2] == (403, "IOTDA.000022")
        # A task of the project may use it, one of another project may not.
        async with database.transaction() as session:
            assert (await resolve_file(session, PROJECT, "deleteDevices", made["file_id"])).rows == 2
            with pytest.raises(InvalidInputError, match="lacks the columns product_id, node_id, which creat"):
                await resolve_file(session, PROJECT, "createDevices", made["file_id"])
            with pytest.raises(NotFoundError):
                await resolve_file(session, "another", "deleteDevices", made["file_id"])


class TestInTasks:
    async def create(self, sdk, task_type, file_id, call="create", **fields):
        return await getattr(sdk, call)(
            task_name="of_a_file", task_type=task_type, document_source=file_id, **fields
        )

    async def test_a_task_takes_its_targets_from_a_file(self, sdk, connection, database, tmp_path):
        table = [("产品ID", "设备标识码", "密钥"), ("valve", "n1", "told-secret"), ("valve", "n2", "")]
        file = await upload(sdk, write(tmp_path / "a.xlsx", table))
        made = await self.create(sdk, "createDevices", file["file_id"])
        await sdk.call("delete_batch_task_file", file_id=file["file_id"])
        async with database.transaction() as session:
            task = await TaskRepository(session).find_task(task_id=made["task_id"], projects=[PROJECT])
            await expand(session, task.id, system_clock())
        rows = connection.execute("SELECT target, input FROM batch_subtask ORDER BY id").fetchall()
        assert [row["target"] for row in rows] == ["valve_n1", "valve_n2"]
        assert "told-secret" not in str(rows)

    async def test_files_that_are_not_there_or_do_not_suit(self, sdk, tmp_path):
        file = await upload(sdk, write(tmp_path / "a.csv"))
        body = iotda.CreateBatchTask(
            task_name="n", task_type="createDevices", document_source=file["file_id"]
        )
        assert await sdk.refused("create_batch_task", body=body) == (
            400,
            "IOTDA.000006",
            "document_source: the file lacks the columns product_id, node_id, which createDevices needs",
        )
        body = iotda.CreateBatchTask(task_name="n", task_type="deleteDevices", document_source="none")
        assert (await sdk.refused("create_batch_task", body=body))[:2] == (404, "IOTDA.014600")
        # Of several sources the first counts: nobody asks for the file then.
        await self.create(sdk, "deleteDevices", "none", targets=["d1"])


class TestBadInput:
    async def test_wrong_cells_are_told_with_their_rows(self, sdk, connection, tmp_path):
        table = [("device_id", "名称"), *((f"d {number}", "") for number in range(25)), ("d1", "x" * 257)]
        status, code, message = await refused(sdk, write(tmp_path / "a.xlsx", table))
        assert (status, code) == (400, "IOTDA.000006")
        assert message.startswith("file: 26 problems: row 2: device_id: must have 1 to 128 characters of ")
        assert "; row 21: device_id: must have 1 to 128 characters of A-Z a-z 0-9 _ -; and 6 more" in message
        assert connection.execute("SELECT count(*) AS n FROM batch_file").fetchone()["n"] == 0

    @pytest.mark.parametrize(
        ("name", "content", "words"),
        [
            (
                "a.xlsx",
                b"PK\x03\x04" + b"x" * 99,
                "file: cannot be read as a spreadsheet (.xlsx): ",
            ),
            (
                "a.xls",
                b"\xd0\xcf\x11\xe0" + b"x" * 99,
                "file: cannot be read as a spreadsheet (.xls, ",
            ),
            ("a.csv", b"device_id\n\xff\xff\xff", "file: is text neither in UTF-8 nor in GB18030"),
            (
                "a.csv",
                b"device_id,colour\nd1,red",
                "file: 1 problem: row 1: has unknown columns colour; expected device_id",
            ),
            (
                "a.csv",
                b"name\nred",
                "file: 1 problem: row 1: lacks the column device_id, or product_id and node_id",
            ),
            ("a.csv", b"", "file: is empty"),
        ],
    )
    async def test_files_that_cannot_be_read(self, sdk, tmp_path, name, content, words):
        (tmp_path / name).write_bytes(content)
        status, code, message = await refused(sdk, tmp_path / name)
        assert (status, code, message[: len(words)]) == (400, "IOTDA.000006", words)

    async def test_a_bomb(self, sdk, tmp_path):
        book = Workbook()
        for row in [("device_id", "name"), *[("d", "x" * 30_000)] * 300]:
            book.active.append(row)
        book.save(tmp_path / "a.xlsx")
        assert await refused(sdk, tmp_path / "a.xlsx") == (
            400,
            "IOTDA.000006",
            "file: has a part that unpacks to more than 200 times its size: save it as CSV",
        )

    async def test_one_row_too_many(self, sdk, tmp_path, monkeypatch):
        monkeypatch.setenv("CARILLON_BATCH_FILE_ROWS", "2")
        get_settings.cache_clear()
        await upload(sdk, write(tmp_path / "a.csv"))
        status, code, message = await refused(sdk, write(tmp_path / "b.csv", [*TABLE, ("d3", "")]))
        assert (status, code, message) == (400, "IOTDA.000006", "file: has more than 2 rows")

    @pytest.mark.parametrize("suffix", ["csv", "xls", "xlsx"])
    async def test_one_byte_too_many(self, sdk, tmp_path, monkeypatch, suffix):
        # The least limit that can be set is 1 KiB.
        file = write(tmp_path / f"a.{suffix}", [*TABLE, *((f"lamp-{n}", "") for n in range(200))])
        size = file.stat().st_size
        monkeypatch.setenv("CARILLON_BATCH_FILE_LIMIT_BYTES", str(size - 1))
        get_settings.cache_clear()
        assert await refused(sdk, file) == (400, "IOTDA.014603", f"file: is larger than {size - 1} bytes")
        monkeypatch.setenv("CARILLON_BATCH_FILE_LIMIT_BYTES", str(size))
        get_settings.cache_clear()
        await upload(sdk, file)

    @pytest.mark.parametrize("signed", [True, False])
    async def test_a_body_that_is_not_read_to_its_end(
        self, sdk, sdk_of, database, tmp_path, monkeypatch, signed
    ):
        monkeypatch.setenv("CARILLON_BATCH_FILE_LIMIT_BYTES", "1000000")
        get_settings.cache_clear()
        client = sdk if signed else sdk_of(token=await make_token(database, projects=[PROJECT]))
        (tmp_path / "a.csv").write_bytes(b"device_id\n" + b"\n" * 2_000_000)
        status, code, message = await refused(client, tmp_path / "a.csv")
        assert (status, code) == (400, "IOTDA.014603")
        assert message.startswith("the body is larger than ")

    async def test_names(self, url, database):
        headers = {"X-Auth-Token": await make_token(database, projects=[PROJECT])}
        async with httpx.AsyncClient(base_url=f"{url}/v5/iot/{PROJECT}", headers=headers) as client:

            async def send(name):
                files = {"file": (name, csv_of(TABLE))}
                answer = await client.post("/batchtask-files", files=files)
                return answer.status_code, answer.json()

            assert (await send("x" * 60))[0] == 201
            assert (await send("C:\\lists\\devices.csv"))[1]["file_name"] == "devices.csv"
            too_long = {"error_code": "IOTDA.000006"}
            too_long["error_msg"] = "file_name: must have 1 to 60 printable characters"
            assert await send("x" * 61) == (400, too_long)
            answer = await client.post("/batchtask-files", data={"file": "text"}, files={"other": b"x"})
            assert (answer.status_code, answer.json()["error_code"]) == (400, "IOTDA.000006")
            assert answer.json()["error_msg"].startswith("file: ")
            answer = await client.post("/batchtask-files", json={"file": "text"})
            assert answer.json() == {"error_code": "IOTDA.000006", "error_msg": "file: is required"}
            answer = await client.post(
                "/batchtask-files", content=b"x", headers={"Content-Type": "multipart/form-data; boundary=a"}
            )
            assert (answer.status_code, answer.json()["error_code"]) == (400, "IOTDA.000006")
            answer = await client.delete(f"/batchtask-files/{'x' * 129}")
            assert (answer.status_code, answer.json()["error_code"]) == (400, "IOTDA.000006")


class TestAtOnce:
    async def test_one_name_by_two(self, database, sdk, tmp_path):
        """Two uploads of one name that both found it free before they were read: one is kept."""
        write(tmp_path / "a.csv")
        answers = await asyncio.gather(
            *(upload(sdk, tmp_path / "a.csv") for _ in range(4)), return_exceptions=True
        )
        assert sum(isinstance(one, dict) for one in answers) == 1
        assert [one.error_code for one in answers if not isinstance(one, dict)] == ["IOTDA.014602"] * 3


GROWTH = """
import asyncio, resource, sys
from pathlib import Path
from tempfile import TemporaryFile
from include.batch_files.reading import read_targets
from include.batch_files.service import BatchFileService
from include.kit.db import Database

async def main(url, small, large):
    database = await Database(url).open()
    for path in (small, large):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with TemporaryFile("w+", encoding="utf-8", newline="\\n") as spool:
            contents = read_targets(Path(path), spool, rows_most=100_000)
            async with database.transaction() as connection:
                await BatchFileService(connection, "p", "o").store(path[-20:], contents, spool)
    await database.close()
    print(contents.rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)

asyncio.run(main(*sys.argv[1:]))
"""


class TestAHundredThousandRows:
    def table(self, rows):
        yield ("device_id", "name", "description", "tags")
        for number in range(rows):
            yield (f"valve_{number:06d}", f"阀门 {number}", "in the north of the city", "site=north; floor=3")

    @pytest.mark.parametrize("suffix", ["csv", "xlsx"])
    def test_memory_does_not_grow_with_the_rows(self, database_url, connection, tmp_path, suffix):
        small = write(tmp_path / f"small.{suffix}", self.table(1000))
        large = write(tmp_path / f"large.{suffix}", self.table(100_000))
        answer = subprocess.run(
            [sys.executable, "-c", GROWTH, database_url, str(small), str(large)],
            capture_output=True, text=True, cwd=ROOT, check=True,
        )  # fmt: skip
        rows, growth = map(int, answer.stdout.split())
        assert rows == 100_000
        assert connection.execute("SELECT max(row) AS n FROM batch_file_row").fetchone()["n"] == 100_001
        # Which devices were told before, and a spreadsheet's shared texts, stay; the rows would be 145 MiB.
        assert growth / 1024 < 45
