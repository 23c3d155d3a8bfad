"""The command line: every error on purpose is a sentence and an exit code."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import pytest

from include.cli import main as command_line
from include.cli.main import COMMANDS, Entry, main
from include.cli.test import worst
from include.errors import CarillonError, InvalidInputError, StartupError
from include.settings import Settings


def fail_with(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> int:
    def command() -> None:
        raise error

    monkeypatch.setattr(command_line, "boom", command, raising=False)
    monkeypatch.setitem(COMMANDS, "boom", Entry("include.cli.main:boom", "Fail."))
    return main(["boom"])


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (StartupError("the port is taken"), 1, "carillon: the port is taken\n"),
        (InvalidInputError("not a time zone", field="zone"), 2, "carillon: zone: not a time zone\n"),
        (CarillonError(), 1, "carillon: Something went wrong in Carillon.\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_errors(
    error: BaseException,
    code: int,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert fail_with(error, monkeypatch) == code
    assert capsys.readouterr().err == words


def test_a_wrong_setting_is_named_by_its_variable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CARILLON_PORT", "seventy")
    monkeypatch.setattr(command_line, "boom", Settings, raising=False)

    def command() -> None:
        Settings()

    monkeypatch.setattr(command_line, "boom", command)
    monkeypatch.setitem(COMMANDS, "boom", Entry("include.cli.main:boom", "Fail."))
    assert main(["boom"]) == 2
    assert capsys.readouterr().err.startswith("carillon: CARILLON_PORT: Input should be a valid integer")


def test_unknown_command_is_a_usage_error() -> None:
    assert main(["nonsense"]) == 2


def test_help_imports_no_command() -> None:
    script = (
        "import sys; from include.cli.main import main; main(['--help']);"
        "sys.exit(any(name in sys.modules for name in ('include.cli.up', 'psutil', 'airflow', 'sqlalchemy')))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert " up " in done.stdout


@pytest.mark.parametrize(
    "name", [name for name, entry in COMMANDS.items() if find_spec(entry.target.split(":")[0])]
)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    assert f"carillon {name}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("codes", "result"), [((0, 0), 0), ((0, 5), 0), ((5, 5), 5), ((1, 0), 1), ((0, 2), 2), ((5, 1), 1)]
)
def test_exit_code_of_two_runs(codes: tuple[int, ...], result: int) -> None:
    assert worst(*codes) == result
