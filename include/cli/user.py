"""`./carillon user`: the accounts that log in with a password, see POST /api/v1/scheduler/login/."""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from include.accounts.model import Account
from include.accounts.service import AccountService
from include.cli.token import in_one_transaction, iso, split_names
from include.kit.db import Connection

app = typer.Typer(help="Make, list and disable accounts that log in with a password.", no_args_is_help=True)

T = TypeVar("T")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON alone.")]


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The username.")],
    projects: Annotated[str, typer.Option(help="Project ids its tokens see, by commas.")] = "all",
    apis: Annotated[str, typer.Option(help="APIs its tokens open, by commas.")] = "all",
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input, one line.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make an account. The password is asked for; only a hash of it is kept."""
    password = _read_line() if password_stdin else _ask()
    account = _run(
        lambda service: service.create(name, password, apis=split_names(apis), projects=split_names(projects))
    )
    _say(account, f"Account {account.name} can log in.", as_json=as_json)


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List all accounts, the disabled ones too."""
    accounts = _run(lambda service: service.list())
    if as_json:
        typer.echo(json.dumps([_document(account) for account in accounts], ensure_ascii=False))
    else:
        Console().print(_table(accounts))


@app.command("disable")
def disable(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The username.")], as_json: AsJson = False
) -> None:
    """Keep an account from logging in. The tokens it has end within three seconds."""
    account = _run(lambda service: service.disable(name))
    _say(account, f"Account {account.name} is disabled.", as_json=as_json)


def _ask() -> str:
    password: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return password


def _read_line() -> str:
    return sys.stdin.readline().removesuffix("\n").removesuffix("\r")


def _run(work: Callable[[AccountService], Awaitable[T]]) -> T:
    def with_service(connection: Connection) -> Awaitable[T]:
        return work(AccountService(connection))

    return in_one_transaction(with_service)


def _say(account: Account, sentence: str, *, as_json: bool) -> None:
    typer.echo(json.dumps(_document(account), ensure_ascii=False) if as_json else sentence)


def _document(account: Account) -> dict[str, Any]:
    return {
        "id": account.id,
        "name": account.name,
        "apis": account.apis,
        "projects": account.projects,
        "created_at": iso(account.created_at),
        "disabled_at": iso(account.disabled_at),
    }


def _table(accounts: list[Account]) -> Table:
    table = Table("name", "APIs", "projects", "made", "state")
    for account in accounts:
        table.add_row(
            account.name,
            ", ".join(account.apis or ["all"]),
            ", ".join(account.projects or ["all"]),
            iso(account.created_at),
            "disabled" if account.disabled_at else "good",
        )
    return table
