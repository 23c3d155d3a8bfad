"""`resp_regexp`: what matches, what is refused, and that nothing a client writes can stall or break a run."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.errors import InvalidInputError
from include.kit.matching import compile_pattern


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("*", "", True),
        ("*", "anything\n", True),
        ("", "anything", True),
        ("ok", '{"state":"ok"}', True),
        ("^ok$", '{"state":"ok"}', False),
        ("^ok$", "ok", True),
        ("^ok", "\nok", False),
        ("(?m)^ok", "\nok", True),
        ("(?i)OK", "ok", True),
        ('"state":\\s*0', '{"state":  0}', True),
        (".*", "", True),
        ("温.", "室温高", True),
        ("^.$", "温", True),
        ("\\d+", "٣", False),
        ("\\x00", "a\x00b", True),
        ("b", "\ud800b", True),
    ],
)
def test_the_search_is_unanchored(pattern: str, text: str, found: bool) -> None:
    assert compile_pattern(pattern).matches(text) is found


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(", "missing \\)"),
        ("[a", "missing \\]"),
        ("**", "no argument for repetition"),
        ("*a", "no argument for repetition"),
        ("a**", "bad repetition"),
        ("(?=x)", "invalid perl operator"),
        ("(a)\\1", "invalid escape sequence"),
        ("a{2000}", "invalid repetition size"),
        ("\\pL{900}", "too large"),
        ("x\ud800", "surrogates not allowed"),
        ("a" * 1025, "longer than 1024"),
    ],
)
def test_an_unusable_expression_is_refused_with_its_reason(pattern: str, reason: str) -> None:
    with pytest.raises(InvalidInputError, match=reason) as caught:
        compile_pattern(pattern)
    assert caught.value.field == "resp_regexp"


def test_the_field_is_the_callers() -> None:
    with pytest.raises(InvalidInputError) as caught:
        compile_pattern("(", field="match")
    assert caught.value.field == "match"


def test_the_memory_limit_is_a_parameter() -> None:
    assert compile_pattern("\\pL{20}").matches("é" * 20)
    with pytest.raises(InvalidInputError, match="too large"):
        compile_pattern("\\pL{20}", memory_bytes=4096)


def test_what_explodes_elsewhere_is_linear_here() -> None:
    started = time.process_time()
    assert not compile_pattern("^(a+)+$").matches("a" * 1_000_000 + "b")
    assert not compile_pattern("(x+x+)+y").matches("x" * 1_000_000)
    assert time.process_time() - started < 2


@given(pattern=st.text(max_size=40), text=st.text(st.characters(), max_size=80))
def test_any_text_compiles_or_is_refused_and_matching_never_raises(pattern: str, text: str) -> None:
    try:
        compiled = compile_pattern(pattern)
    except InvalidInputError:
        return
    assert compiled.matches(text) in (True, False)
