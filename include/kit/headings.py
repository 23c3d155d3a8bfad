"""What the columns of a file are, by headings as people write them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from include.errors import InvalidInputError

_BRACKETS = re.compile(r"[(（\[【].*?[)）\]】]")


def match_headings(
    cells: Sequence[str], called: Mapping[str, Sequence[str]], required: Sequence[str], expected: str
) -> list[str | None]:
    """Return what each column is, None for one without heading.

    Blanks, case and what stands in brackets do not count.

    :param called: what a column may be called besides its name
    :param expected: what the file should have, in words
    :raises InvalidInputError: names `file`: columns are missing, unknown or there twice
    """
    known = {_plain(other): name for name, others in called.items() for other in (name, *others)}
    found = [known.get(_plain(cell)) if cell else None for cell in cells]
    strange = [cell for cell, name in zip(cells, found, strict=True) if cell and name is None]
    missing = [name for name in required if name not in found]
    twice = [cell for cell, name in zip(cells, found, strict=True) if name and found.count(name) > 1]
    for wrong, words in ((missing, "lacks"), (strange, "has unknown"), (twice, "has twice the")):
        if wrong:
            raise InvalidInputError(f"{words} columns {', '.join(wrong)}; expected {expected}", field="file")
    return found


def _plain(heading: str) -> str:
    return re.sub(r"[\s_\-*:：]+", "", _BRACKETS.sub("", heading)).lower()
