"""Whose things a caller sees and makes: an organisation is a project id of its token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from include.errors import InvalidInputError, NotFoundError

T = TypeVar("T")


def owner(projects: Sequence[str] | None, given: str | None) -> str:
    """Return the organisation that something new belongs to; empty where tokens are not restricted.

    :param projects: those of the caller's token, None for all
    :raises InvalidInputError: the token has several and none was named
    :raises NotFoundError: the named one is not the token's
    """
    if given is not None:
        if projects is not None and given not in projects:
            raise NotFoundError(f"there is no project {given!r}")
        return given
    if projects is None:
        return ""
    if len(projects) > 1:
        raise InvalidInputError("is required: the token has several projects", field="organization_id")
    return projects[0]


def only(found: Sequence[T], what: str, uid: str) -> T:
    """Return the only one of its uid that a caller sees.

    :raises NotFoundError: there is none
    :raises InvalidInputError: several organisations have one
    """
    if not found:
        raise NotFoundError(f"there is no {what} {uid!r}")
    if len(found) > 1:
        raise InvalidInputError(
            f"is required: several organisations have a {what} {uid!r}", field="organization_id"
        )
    return found[0]
