"""Who may import whom: the boundaries of the code base, read from its import statements."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    path
    for top in ("include", "api_plugin", "dags", "plugins")
    for path in (ROOT / top).rglob("*.py")
    if "versions" not in path.parts
)


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def may_import_airflow(path: str) -> bool:
    return path.startswith(
        ("dags/", "plugins/", "include/schedules/", "api_plugin/common/")
    ) or path.endswith(("/operators.py", "/triggers.py"))


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_boundaries(path: Path) -> None:
    where, tops = name(path), {module.split(".")[0] for module in imports(path)}
    assert not tops & {"dags", "plugins", "tests", "benchmarks"}
    if "airflow" in tops:
        assert may_import_airflow(where), f"{where} must not import airflow"
    if {"fastapi", "starlette"} & tops:
        assert where.startswith("api_plugin/"), f"{where} must not import fastapi"
    if "api_plugin" in tops:
        assert where.startswith(("api_plugin/", "plugins/")), f"{where} must not import api_plugin"


@pytest.mark.parametrize("path", sorted((ROOT / "api_plugin").glob("*/*.py")), ids=name)
def test_apis_have_nothing_in_common_but_what_is_in_common(path: Path) -> None:
    api = path.parent.name
    foreign = {m for m in imports(path) if m.startswith("api_plugin.")}
    assert {m.split(".")[1] for m in foreign} <= {api, "common"}, foreign


@pytest.mark.parametrize("path", [p for p in SOURCES if name(p).startswith("include/")], ids=name)
def test_layers(path: Path) -> None:
    where, modules = name(path), set(imports(path))
    if where.startswith("include/kit/"):
        others = {m for m in modules if m.startswith("include.")}
        assert all(m.startswith(("include.kit", "include.errors", "include.settings")) for m in others), (
            others
        )
    if where.startswith("include/cron/"):
        others = {m for m in modules if m.startswith("include.")}
        assert all(m.startswith(("include.cron", "include.errors")) for m in others), others
    if not where.endswith("include/settings.py") and not where.startswith("include/cli/"):
        assert "os.environ" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", [p for p in SOURCES if name(p).startswith(("dags/", "plugins/"))], ids=name)
def test_dag_and_plugin_files_only_register(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 30
    assert ast.get_docstring(ast.parse(text))
