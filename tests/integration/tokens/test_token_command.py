"""`./carillon token`, called as the shell calls it."""

from __future__ import annotations

import asyncio
import json
import os
import re
from dataclasses import fields
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from include.cli.home import Home
from include.cli.instance import Instance
from include.cli.main import main
from include.cli.token import parse_expiry
from include.errors import InvalidInputError
from include.kit.secrets import decrypt
from include.settings import get_settings
from include.tokens.access_keys import AccessKeyService

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["token", *words])
    out, err = capsys.readouterr()
    return code, out, err


class TestCreate:
    def test_it_prints_the_token_alone_on_standard_output(self, database_url, capsys):
        code, out, err = run(capsys, "create", "--name", "portal")
        assert code == 0
        assert re.fullmatch(r"1:[0-9a-f]{40}\n", out)
        assert out.strip() not in err

    def test_json_is_all_there_is_on_standard_output(self, database_url, capsys):
        code, out, err = run(
            capsys,
            *("create", "--name", "portal", "--projects", "42,49", "--apis", "management,crontab"),
            *("--expires", "2099-01-01T00:00:00+08:00", "--json"),
        )
        assert (code, err) == (0, "")
        made = json.loads(out)
        assert re.fullmatch(r"1:[0-9a-f]{40}", made.pop("token"))
        assert made.pop("created_at")
        assert made == {
            "id": 1,
            "name": "portal",
            "apis": ["crontab", "management"],
            "projects": ["42", "49"],
            "expires_at": "2098-12-31T16:00:00+00:00",
            "revoked_at": None,
        }

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--name", ""], "name: must have 1 to 200 printable characters"),
            (["--name", "x", "--apis", "nope"], "apis: 'nope' is not one of"),
            (["--name", "x", "--projects", ","], "projects: must be 'all' or a list of project ids"),
            (["--name", "x", "--expires", "soon"], "expires: 'soon' is neither like 90d nor ISO 8601"),
            (["--name", "x", "--expires", "0d"], "expires: "),
        ],
    )
    def test_bad_input_is_a_sentence_and_exit_code_2(self, database_url, capsys, words, message):
        code, out, err = run(capsys, "create", *words)
        assert (code, out) == (2, "")
        assert err.startswith(f"carillon: {message}")

    def test_without_an_instance_it_says_what_to_do(self, tmp_path, monkeypatch, capsys):
        monkeypatch.setenv("CARILLON_HOME", str(tmp_path))
        code, out, err = run(capsys, "create", "--name", "x")
        assert (code, out) == (1, "")
        assert err == f"carillon: no instance runs on {tmp_path}: start one with ./carillon up\n"

    async def test_an_access_key_comes_with_it(self, database, connection: psycopg.Connection, capsys):
        code, out, _ = await asyncio.to_thread(run, capsys, "create", "--name", "sdk", "--ak-sk", "--json")
        made = json.loads(out)
        assert code == 0
        assert re.fullmatch(r"[A-Z0-9]{20}", made["ak"])
        assert re.fullmatch(r"[A-Za-z0-9]{40}", made["sk"])
        async with database.transaction() as session:
            token, secret = await AccessKeyService(session).find(made["ak"])
        assert (token.id, secret) == (made["id"], made["sk"])
        stored = connection.execute("SELECT secret_key FROM token").fetchone()
        assert made["sk"] not in stored["secret_key"]

    def test_people_get_a_line_each(self, database_url, capsys):
        code, out, _ = run(capsys, "create", "--name", "sdk", "--ak-sk")
        assert code == 0
        assert re.fullmatch(r"1:[0-9a-f]{40}\nak [A-Z0-9]{20}\nsk [A-Za-z0-9]{40}\n", out)

    def test_of_an_instance_the_secret_is_encrypted_with_its_key(
        self, database_url, tmp_path, monkeypatch, capsys
    ):
        home = Home.open(tmp_path)
        key = home.secrets().secret_key
        monkeypatch.delenv("CARILLON_DATABASE_URL")
        monkeypatch.setenv("CARILLON_HOME", str(tmp_path))
        monkeypatch.setenv("CARILLON_SECRET_KEY", "not that of the instance")
        get_settings.cache_clear()
        (tmp_path / "instance.json").write_text(
            json.dumps(
                {
                    **dict.fromkeys((one.name for one in fields(Instance)), ""),
                    "pid": os.getpid(),
                    "home": str(tmp_path),
                    "processes": {},
                    "database_url": database_url,
                }
            )
        )
        made = json.loads(run(capsys, "create", "--name", "sdk", "--ak-sk", "--json")[1])
        with psycopg.connect(database_url) as session:
            [sealed] = session.execute("SELECT secret_key FROM token").fetchone()
        monkeypatch.setenv("CARILLON_SECRET_KEY", key)
        get_settings.cache_clear()
        assert decrypt(sealed) == made["sk"]


class TestListAndRevoke:
    def test_a_revoked_token_shows_as_revoked(self, database_url, capsys):
        run(capsys, "create", "--name", "one")
        run(capsys, "create", "--name", "two", "--expires", "90d")
        assert run(capsys, "revoke", "1") == (0, "Token 1 (one) is revoked.\n", "")
        code, out, _ = run(capsys, "list", "--json")
        assert code == 0
        listed = json.loads(out)
        assert [(token["id"], token["name"], token["revoked_at"] is None) for token in listed] == [
            (1, "one", False),
            (2, "two", True),
        ]

    def test_people_get_a_table_without_secrets(self, database_url, capsys):
        made = run(capsys, "create", "--name", "one")[1]
        run(capsys, "create", "--name", "gone", "--projects", "42")
        run(capsys, "revoke", "2")
        code, out, _ = run(capsys, "list")
        assert code == 0
        assert all(word in out for word in ("one", "good", "gone", "revoked", "42", "never"))
        assert made.strip().partition(":")[2] not in out

    def test_revoke_as_json(self, database_url, capsys):
        run(capsys, "create", "--name", "one")
        code, out, _ = run(capsys, "revoke", "1", "--json")
        assert code == 0
        assert json.loads(out)["revoked_at"] is not None

    def test_an_unknown_token_cannot_be_revoked(self, database_url, capsys):
        assert run(capsys, "revoke", "5") == (1, "", "carillon: there is no token 5\n")

    def test_an_expired_token_shows_as_expired(self, database_url, connection: psycopg.Connection, capsys):
        run(capsys, "create", "--name", "old")
        connection.execute("UPDATE token SET expires_at = now() - interval '1 day'")
        assert "expired" in run(capsys, "list")[1]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("90d", NOW + timedelta(days=90)),
        ("12h", NOW + timedelta(hours=12)),
        ("2w", NOW + timedelta(weeks=2)),
        ("30m", NOW + timedelta(minutes=30)),
        ("2027-01-01T08:00:00+08:00", datetime(2027, 1, 1, tzinfo=UTC)),
        ("2027-01-01T00:00:00Z", datetime(2027, 1, 1, tzinfo=UTC)),
    ],
)
def test_expiry_is_a_span_or_a_moment(text: str, moment: datetime):
    assert parse_expiry(text, NOW) == moment


@pytest.mark.parametrize("text", ["90", "1y", "999999w", "2027-01-01T00:00:00", "", "-1d"])
def test_what_is_neither_is_refused(text: str):
    with pytest.raises(InvalidInputError) as caught:
        parse_expiry(text, NOW)
    assert caught.value.field == "expires"
