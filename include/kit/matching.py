"""Matching an answer against a client's regular expression.

The expressions come from clients, so they run on RE2: time linear in the text, bounded memory, no
backtracking.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import re2

from include.errors import InvalidInputError

PATTERN_LENGTH_LIMIT = 1024
#: Per expression: RE2 refuses one whose program needs more, and matches more slowly when its cache does.
PATTERN_MEMORY_BYTES = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ResponsePattern:
    """A compiled expression; `None` inside matches everything."""

    _compiled: Any

    def matches(self, text: str) -> bool:
        """Whether the expression is found anywhere in the text. Never raises."""
        # Bytes on both sides: the str interface of re2 counts characters for positions nobody asks for, and a
        # lone surrogate would make it raise.
        return self._compiled is None or self._compiled.search(text.encode("utf-8", "replace")) is not None


def compile_pattern(
    text: str, field: str = "resp_regexp", *, memory_bytes: int = PATTERN_MEMORY_BYTES
) -> ResponsePattern:
    """Compile an expression; `*` alone, and the empty one, match everything.

    Raises InvalidInputError naming `field`: longer than 1,024 characters, not valid RE2, or too large once
    compiled.
    """
    if len(text) > PATTERN_LENGTH_LIMIT:
        raise InvalidInputError(f"is longer than {PATTERN_LENGTH_LIMIT} characters", field=field)
    if text in ("", "*"):
        return ResponsePattern(None)
    try:
        return ResponsePattern(re2.compile(text.encode(), _options(memory_bytes)))
    except (re2.error, UnicodeEncodeError) as exc:
        raise InvalidInputError(f"not a valid regular expression: {_reason(exc)}", field=field) from None


def _options(memory_bytes: int) -> Any:
    options = re2.Options()
    options.max_mem = memory_bytes
    options.log_errors = False
    options.never_capture = True
    return options


def _reason(exc: Exception) -> str:
    if isinstance(exc, UnicodeEncodeError):
        return exc.reason
    reason = exc.args[0] if exc.args else ""
    return reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
