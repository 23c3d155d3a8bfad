"""The home: what is generated once, who may read it, who holds it."""

from __future__ import annotations

import base64
import stat
from pathlib import Path

import pytest

from include.cli.home import Home
from include.errors import StartupError


def test_secrets_are_drawn_once_and_private(tmp_path: Path) -> None:
    home = Home.open(tmp_path / "deep" / "home")
    drawn = home.secrets()
    assert home.secrets() == drawn
    assert Home.open(tmp_path / "other").secrets() != drawn
    assert stat.S_IMODE((home.path / "secrets.json").stat().st_mode) == 0o600
    assert len(base64.urlsafe_b64decode(drawn.fernet_key)) == 32


def test_damaged_secrets_are_a_sentence(tmp_path: Path) -> None:
    home = Home.open(tmp_path)
    (tmp_path / "secrets.json").write_text("{}")
    with pytest.raises(StartupError, match=r"secrets\.json cannot be read"):
        home.secrets()


def test_a_home_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartupError, match="cannot be written"):
        Home.open(tmp_path / "file" / "home")


def test_one_holder_at_a_time(tmp_path: Path) -> None:
    home = Home.open(tmp_path)
    with home.lock():
        home.instance_file.write_text('{"url": "http://127.0.0.1:1"}')
        with pytest.raises(StartupError, match=r"already runs .* http://127\.0\.0\.1:1"), home.lock():
            raise AssertionError("two holders")
    with home.lock():
        pass
