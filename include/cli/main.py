"""The command line `./carillon`.

A command's module is imported when the command is called, not before: `--help` stays quick however much a
command needs. To add one, write its module and give it a line in `COMMANDS`.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import typer
from pydantic import ValidationError
from typer.core import TyperCommand, TyperGroup

from include.errors import CarillonError, InvalidInputError

EXIT_ERROR, EXIT_INPUT, EXIT_INTERRUPTED = 1, 2, 130


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a command is: a function, or a `typer.Typer` of sub-commands."""

    target: str
    help: str


COMMANDS: dict[str, Entry] = {
    "up": Entry("include.cli.up:up", "Set everything up and run it; Ctrl-C ends it."),
    "status": Entry("include.cli.status:status", "Show the running instance and its processes."),
    "demo": Entry(
        "include.cli.demo:demo", "Show callbacks, billing, device timers, batch tasks or maintenance run."
    ),
    "token": Entry("include.cli.token:app", "Make, list and revoke API tokens."),
    "user": Entry("include.cli.user:app", "Make, list and disable accounts that log in with a password."),
    "schedule": Entry("include.cli.schedule:app", "Ask when schedules run next."),
    "explain": Entry("include.cli.explain:explain", "Say why a definition did or did not run."),
    "bind": Entry("include.cli.bind:bind", "Let a user set timers on a device."),
    "unbind": Entry("include.cli.bind:unbind", "Let a user set timers on a device no more."),
    "import": Entry(
        "include.cli.import_command:import_rows",
        "Load service points, meters, people, readings and devices from files.",
    ),
    "clean": Entry("include.cli.clean:clean", "Drop old ledger partitions and old Airflow runs."),
    "bench": Entry("include.cli.bench:bench", "Run the benchmarks, peers in the same run."),
    "test": Entry("include.cli.test:run_tests", "Run every test; arguments go to pytest."),
    "check": Entry("include.cli.check:check", "Run the linter, the formatter's check and the type checker."),
}


class LazyGroup(TyperGroup):
    """A group that knows its commands by name and imports the one that is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the commands of this checkout."""
        return [name for name, entry in COMMANDS.items() if find_spec(entry.target.split(":")[0])]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return what `--help` shows: the name and the line of help."""
        if cmd_name not in self.list_commands(ctx):
            return None
        return TyperCommand(cmd_name, help=COMMANDS[cmd_name].help)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the real command for a call."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, load(name) if command and name else command, rest


def load(name: str) -> Any:
    """Import a command and return it."""
    module, _, attribute = COMMANDS[name].target.partition(":")
    target = getattr(import_module(module), attribute)
    if not isinstance(target, typer.Typer):
        app = typer.Typer(add_completion=False)
        app.command(name, **getattr(target, "command_options", {}))(target)
        target = app
    command = typer.main.get_command(target)
    command.name = name
    return command


app = typer.Typer(cls=LazyGroup, add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def _root() -> None:
    """Carillon: a scheduling back end on Apache Airflow and PostgreSQL."""


def main(argv: list[str] | None = None) -> int:
    """Run a command and return its exit code; an error on purpose is one sentence, never a traceback."""
    try:
        result = typer.main.get_command(app).main(argv, prog_name="carillon", standalone_mode=False)
    except CarillonError as error:
        return _fail(str(error), EXIT_INPUT if isinstance(error, InvalidInputError) else EXIT_ERROR)
    except ValidationError as error:
        return _fail(_describe(error), EXIT_INPUT)
    except (KeyboardInterrupt, typer.Abort):
        return EXIT_INTERRUPTED
    except Exception as error:
        if not hasattr(error, "show"):
            raise
        error.show()  # a usage error of the command line
        return int(getattr(error, "exit_code", EXIT_INPUT))
    return result if isinstance(result, int) else 0


def _fail(sentence: str, code: int) -> int:
    sys.stderr.write(f"carillon: {sentence}\n")
    return code


def _describe(error: ValidationError) -> str:
    """Say which setting is wrong, by the name of its variable."""
    problems = []
    for item in error.errors(include_url=False, include_context=False):
        name = "_".join(str(part) for part in item["loc"]).upper()
        prefix = "" if name.startswith(("CARILLON_", "AIRFLOW_")) or not name else "CARILLON_"
        problems.append(f"{prefix}{name}: {item['msg']}".removeprefix(": "))
    return "; ".join(problems)


if __name__ == "__main__":
    sys.exit(main())
