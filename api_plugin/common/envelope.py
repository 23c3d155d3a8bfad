"""The good answers of documents 000 and 001; `forms.py` has the others (`meta_form`)."""

from __future__ import annotations

from typing import Generic, TypeVar

from pydantic import BaseModel

Data = TypeVar("Data")


class Nothing(BaseModel):
    """An empty object."""


class Meta(BaseModel):
    """0 is good; other codes are 10000, 10100, 10101, 10350, 11600, 10500."""

    code: int
    message: str


class Envelope(BaseModel, Generic[Data]):
    """What an answer is in."""

    meta: Meta
    data: Data


def ok(message: str, data: Data) -> Envelope[Data]:
    """Wrap a good answer."""
    return Envelope(meta=Meta(code=0, message=message), data=data)
