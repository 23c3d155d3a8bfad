"""Texts from outside, as the database can hold them."""

from __future__ import annotations


def storable(text: str, limit: int) -> str:
    """Cut a text to what is kept of it, without what Postgres cannot store."""
    kept = text[:limit].replace("\x00", "\ufffd")
    return kept.encode("utf-8", "replace").decode() if not kept.isascii() else kept
