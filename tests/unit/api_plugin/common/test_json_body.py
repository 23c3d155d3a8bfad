"""Reading JSON bodies."""

from __future__ import annotations

import pytest

from api_plugin.common.json_body import DEPTH_MOST, UnreadableBodyError, read_json, read_object


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a": [1, 2.5, null, true, "\xe4\xbb\xbb"]}', {"a": [1, 2.5, None, True, "任"]}),
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (b'["\\ud83d\\ude00"]', ["😀"]),
        (b'["\\uD800"]', ["\ud800"]),
        (b"[" * DEPTH_MOST + b"]" * DEPTH_MOST, None),
    ],
)
def test_what_is_json_is_read(body: bytes, value: object):
    found = read_json(body)
    assert value is None or found == value


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{'a': 1}",
        b"\xff",
        b'{"a": NaN}',
        b'["\\ud800", Infinity]',
        b'["\\ud800"',
        b"[" * (DEPTH_MOST + 2) + b"]" * (DEPTH_MOST + 2),
        b"[" * 1_000_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'["\\ud800",' + b"[" * 100_000 + b"]" * 100_001,
    ],
)
def test_what_is_not_is_refused(body: bytes):
    with pytest.raises(UnreadableBodyError):
        read_json(body)


@pytest.mark.parametrize("body", [b"[]", b"1", b"null", b'"x"'])
def test_an_object_is_asked_for(body: bytes):
    with pytest.raises(UnreadableBodyError) as caught:
        read_object(body)
    assert str(caught.value) == "the body must be a JSON object"
