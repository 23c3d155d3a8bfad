"""`./carillon user`, called as the shell calls it, and the use cases behind it."""

from __future__ import annotations

import io
import json

import psycopg
import pytest

from include.accounts.model import is_password
from include.accounts.service import AccountService, log_in
from include.cli.main import main
from include.errors import AuthenticationError


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["user", *words])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch):
    """Put a text on standard input."""

    def put(text: str) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO(text))

    return put


class TestCreate:
    def test_with_a_password_on_standard_input(self, connection: psycopg.Connection, capsys, typed):
        typed("correct horse\nmore\n")
        words = ("create", "anna", "--projects", "49,42", "--apis", "billing", "--password-stdin")
        assert run(capsys, *words) == (0, "Account anna can log in.\n", "")
        row = connection.execute(
            "SELECT name, apis, projects, disabled_at, password_hash FROM account"
        ).fetchone()
        assert is_password("correct horse", row.pop("password_hash"))
        assert row == {"name": "anna", "apis": ["billing"], "projects": ["49", "42"], "disabled_at": None}

    def test_a_password_is_asked_for_twice_and_never_shown(self, connection, capsys, monkeypatch):
        asked = []

        def prompt(text, **options):
            asked.append((text, options["hide_input"], options["confirmation_prompt"]))
            return "correct horse"

        monkeypatch.setattr("include.cli.user.typer.prompt", prompt)
        code, out, err = run(capsys, "create", "anna", "--json")
        made = json.loads(out)
        assert (code, err, asked) == (0, "", [("Password", True, True)])
        assert made.pop("created_at")
        assert made == {"id": 1, "name": "anna", "apis": None, "projects": None, "disabled_at": None}

    @pytest.mark.parametrize(
        ("words", "password", "message"),
        [
            (["anna"], "short", "password: must have 8 to 1000 characters"),
            ([""], "correct horse", "name: must have 1 to 200 printable characters"),
            (["anna", "--apis", "nope"], "correct horse", "apis: 'nope' is not one of"),
            (["anna", "--projects", ","], "correct horse", "projects: must be 'all' or a list"),
        ],
    )
    def test_bad_input_is_a_sentence_and_exit_code_2(
        self, database_url, capsys, typed, words, password, message
    ):
        typed(password)
        code, out, err = run(capsys, "create", *words, "--password-stdin")
        assert (code, out) == (2, "")
        assert err.startswith(f"carillon: {message}")

    def test_a_name_is_taken_once(self, database_url, capsys, typed):
        for code in (0, 1):
            typed("correct horse")
            assert run(capsys, "create", "anna", "--password-stdin")[0] == code
        typed("correct horse")
        assert run(capsys, "create", "anna", "--password-stdin")[2] == (
            "carillon: name: is taken by another account\n"
        )


class TestListAndDisable:
    @pytest.fixture(autouse=True)
    def _accounts(self, database_url, capsys, typed):
        for name in ("berta", "anna"):
            typed("correct horse")
            run(capsys, "create", name, "--projects", "42", "--password-stdin")

    def test_by_name_the_disabled_ones_too(self, capsys):
        assert run(capsys, "disable", "berta") == (0, "Account berta is disabled.\n", "")
        code, out, _ = run(capsys, "list", "--json")
        listed = json.loads(out)
        assert code == 0
        assert [(one["name"], one["disabled_at"] is None) for one in listed] == [
            ("anna", True),
            ("berta", False),
        ]
        assert all("password" not in key for one in listed for key in one)

    def test_people_get_a_table(self, capsys):
        run(capsys, "disable", "berta")
        out = run(capsys, "list")[1]
        assert all(word in out for word in ("anna", "berta", "good", "disabled", "42", "all"))
        assert "scrypt" not in out

    def test_disabled_twice_keeps_its_moment(self, capsys):
        first = json.loads(run(capsys, "disable", "anna", "--json")[1])
        assert json.loads(run(capsys, "disable", "anna", "--json")[1]) == first

    def test_an_unknown_account(self, capsys):
        assert run(capsys, "disable", "nobody") == (1, "", "carillon: there is no account 'nobody'\n")


class TestRaces:
    async def test_a_change_while_the_password_is_checked_counts(self, database):
        for change in ("disabled_at = now()", "password_hash = 'other'"):
            async with database.transaction() as connection:
                account = await AccountService(connection).create(change, "correct horse")
            async with database.transaction() as connection:
                await connection.execute(f"UPDATE account SET {change}")
            with pytest.raises(AuthenticationError):
                async with database.transaction() as connection:
                    await AccountService(connection).open_session(account)

    async def test_no_connection_is_held_while_a_password_is_checked(self, database, monkeypatch):
        async with database.transaction() as connection:
            await AccountService(connection).create("anna", "correct horse")

        def watched(password: str, stored: str) -> bool:
            assert database.pool.get_stats()["pool_available"] == database.pool.get_stats()["pool_size"]
            return is_password(password, stored)

        monkeypatch.setattr("include.accounts.service.is_password", watched)
        token, credential = await log_in(database, "anna", "correct horse")
        assert (token.name, credential.token_id) == ("anna", token.id)
