"""Every setting is described in docs/operations.md, with its real default."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import SecretStr
from pydantic_core import PydanticUndefined

from include.settings import Settings

TEXT = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
SECTION = TEXT.split("\n## Settings\n", 1)[1].split("\n## ", 1)[0]
ROWS = re.findall(r"^\| `(CARILLON_[A-Z_]+)` \| (.*?) \| (.*?) \| (.*?) \|$", SECTION, re.MULTILINE)


def written_default(value: object) -> str:
    """A default as the table writes it."""
    if value is None:
        return "none"
    if value in ((), PydanticUndefined):
        return "empty"
    return f"`{value.get_secret_value() if isinstance(value, SecretStr) else value}`"


def test_each_setting_has_one_row_and_each_row_a_setting() -> None:
    assert sorted(name for name, *_ in ROWS) == sorted(f"CARILLON_{n.upper()}" for n in Settings.model_fields)


def test_defaults_are_the_real_ones() -> None:
    real = {
        f"CARILLON_{name.upper()}": written_default(field.default)
        for name, field in Settings.model_fields.items()
    }
    assert {name: default for name, default, *_ in ROWS} == real


def test_each_row_says_what_it_means() -> None:
    assert all(unit and meaning for _, _, unit, meaning in ROWS)
