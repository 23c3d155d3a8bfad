"""Log lines: no secret in them, by name or by shape."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from include.kit.log import MASK, configure_logging, get_logger, is_secret, mask, mask_text


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("postgresql://carillon:s3cret@127.0.0.1/x", f"postgresql://carillon:{MASK}@127.0.0.1/x"),
        ("redis://:s3cret@redis:6379/0", f"redis://:{MASK}@redis:6379/0"),
        ("Authorization: Bearer abcdef0123456789", f"Authorization: Bearer {MASK}"),
        ("token 12:0123456789abcdef0123456789abcdef01234567", f"token {MASK}"),
        ("got eyJhbGciOi.eyJzdWIi.sig back", f"got {MASK} back"),
        ("SDK-HMAC-SHA256 Access=AK, Signature=0a1b2c", f"SDK-HMAC-SHA256 Access=AK, Signature={MASK}"),
        ("GET /x?token=abc&y=1", f"GET /x?token={MASK}&y=1"),
        ("http://h:8080/x is no secret, nor a token", "http://h:8080/x is no secret, nor a token"),
    ],
)
def test_secrets_in_texts(text: str, masked: str) -> None:
    assert mask_text(text) == masked


@pytest.mark.parametrize(
    "key", ["password", "X-Auth-Token", "secret_key", "sk", "jwt", "Authorization", "api_key"]
)
def test_names_of_secrets(key: str) -> None:
    assert is_secret(key)


@pytest.mark.parametrize("key", ["event", "token_id", "user", "task", "key", "risk"])
def test_names_of_ordinary_values(key: str) -> None:
    assert not is_secret(key)


def test_containers_are_copied() -> None:
    original = {
        "headers": {"X-Auth-Token": "abc", "n": 1},
        "urls": ["http://u:p@h/"],
        "none": None,
        "password": None,
    }
    assert mask(original) == {
        "headers": {"X-Auth-Token": MASK, "n": 1},
        "urls": [f"http://u:{MASK}@h/"],
        "none": None,
        "password": None,
    }
    assert original["headers"] == {"X-Auth-Token": "abc", "n": 1}


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_json_lines_of_both_loggers(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("json")
    get_logger("a").info("fired", execution_id=7, password="x")
    logging.getLogger("b").warning("calling %s", "http://u:p@h/")
    logging.getLogger("b").debug("too fine")
    first, second = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (first["event"], first["execution_id"], first["password"], first["level"]) == (
        "fired",
        7,
        MASK,
        "info",
    )
    assert (second["event"], second["logger"]) == (f"calling http://u:{MASK}@h/", "b")


def test_text_lines_name_the_event_and_the_values(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("text")
    get_logger("a").info("fired", execution_id=7)
    line = capsys.readouterr().err
    assert "fired" in line
    assert "execution_id=7" in line


def test_traceback_is_masked_too(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("json")
    try:
        raise ValueError("postgresql://u:s3cret@h/x")
    except ValueError:
        get_logger("a").exception("failed")
    line = capsys.readouterr().err
    assert "s3cret" not in line
    assert "ValueError" in line
