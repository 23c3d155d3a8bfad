"""What can be seen to be wrong with a device in its row alone."""

from __future__ import annotations

from typing import get_args

import pytest
from pydantic import ValidationError

from include.devices.model import (
    COMMAND_SOURCES,
    MESSAGE_SOURCES,
    CommandStatus,
    Device,
    MessageStatus,
)
from include.devices.rows import (
    DESIRED_MOST,
    DeviceChanges,
    DeviceFields,
    DeviceFileRow,
    DeviceRow,
    ShadowRow,
    check_json,
)

BODY = {"node_id": "866", "project_id": "42", "product_id": "meter", "name": "x"}


class TestDevice:
    def test_defaults(self):
        row = DeviceRow(**BODY)
        assert (row.key, row.gateway, row.auth_type, row.tags, row.status) == (
            "meter_866", None, "SECRET", {}, None,
        )  # fmt: skip

    def test_its_own_gateway_is_none(self):
        assert DeviceRow(**BODY, device_id="a", gateway_id="a").gateway is None
        assert DeviceRow(**BODY, device_id="a", gateway_id="b").gateway == "b"

    def test_a_secret_is_not_shown(self):
        row = DeviceRow(**BODY, secret="s3cret-s3cret")
        assert "s3cret" not in f"{row!r} {row} {row.model_dump()} {row.model_dump_json()}"

    def test_a_wrong_secret_is_not_told_again(self):
        with pytest.raises(ValidationError) as caught:
            DeviceRow(**BODY, secret="s3cret-" * 9)
        assert "s3cret" not in caught.value.errors()[0]["msg"]

    def test_texts_lose_blanks_at_their_ends(self):
        assert DeviceRow(**{**BODY, "name": "  x "}).name == "x"

    def test_the_model_has_every_field(self):
        assert set(DeviceFields.model_fields) - {"secret"} <= set(Device.__dataclass_fields__)
        assert set(DeviceChanges.model_fields) == set(DeviceFields.model_fields) - {"project_id"}


class TestTagsOfACell:
    @pytest.mark.parametrize(
        ("cell", "tags"),
        [
            ("", {}),
            ("city=上海", {"city": "上海"}),
            (" city = x ;floor=3；", {"city": "x", "floor": "3"}),
            ("a=b=c", {"a": "b=c"}),
            ('{"a": "b"}', {"a": "b"}),
        ],
    )
    def test_good(self, cell, tags):
        assert DeviceFileRow(**{**BODY, "tags": cell}).tags == tags

    @pytest.mark.parametrize("cell", ["city", "a=1;a=2", "{", '{"a": 1}', "=x"])
    def test_bad(self, cell):
        with pytest.raises(ValidationError) as caught:
            DeviceFileRow(**{**BODY, "tags": cell})
        assert caught.value.errors()[0]["loc"][0] == "tags"


class TestJson:
    def test_good(self):
        value = {"a": [1, 2.5, None, True, "文字", {"b": []}]}
        assert check_json(value) is value

    @pytest.mark.parametrize(
        "value", ["\0", {"\0": 1}, ["\ud800"], float("nan"), float("inf"), 2**63, -(2**63) - 1]
    )
    def test_bad(self, value):
        with pytest.raises(ValueError, match="must"):
            check_json({"a": [value]})

    def test_too_deep(self):
        value: list[object] = []
        for _ in range(20):
            value = [value]
        with pytest.raises(ValueError, match="nested"):
            check_json(value)


class TestShadow:
    @pytest.mark.parametrize("key", ["a.b", "$a", "", "a\0", "k" * 129])
    def test_bad_keys(self, key):
        with pytest.raises(ValidationError):
            ShadowRow(service_id="s", desired={key: 1})

    @pytest.mark.parametrize("version", [-1, True, "1", 1.5, 2**63])
    def test_bad_versions(self, version):
        with pytest.raises(ValidationError):
            ShadowRow(service_id="s", desired={}, version=version)

    def test_too_large(self):
        with pytest.raises(ValidationError, match="at most 65536 bytes"):
            ShadowRow(service_id="s", desired={"a": "x" * DESIRED_MOST})


class TestTransitions:
    def test_every_status_but_the_first_can_be_reached_and_ends_stay(self):
        ends = {"SUCCESSFUL", "FAILED", "TIMEOUT", "EXPIRED"}
        assert set(COMMAND_SOURCES) == set(get_args(CommandStatus)) - {"PENDING"}
        assert not ends & {source for sources in COMMAND_SOURCES.values() for source in sources}
        assert set(MESSAGE_SOURCES) == set(get_args(MessageStatus)) - {"PENDING"}
        assert {source for sources in MESSAGE_SOURCES.values() for source in sources} == {"PENDING"}
