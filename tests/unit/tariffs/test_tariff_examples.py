"""The price lists of docs/tariffs.md can be posted as they stand there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from zoneinfo import ZoneInfo

from include.tariffs.model import (
    AssignmentFields,
    TariffFields,
    VersionFields,
    make_version,
    version_problems,
)

TEXT = (Path(__file__).parents[3] / "docs" / "tariffs.md").read_text(encoding="utf-8")
CALL = re.compile(r"curl -X (?P<call>[A-Z]+ \$A/\S+) .*? -d '\n(?P<body>.*?)'\n", re.DOTALL)


def test_they_can_be_posted():
    calls = [(match["call"], json.loads(match["body"])) for match in CALL.finditer(TEXT)]
    assert [call for call, _ in calls] == [
        "PUT $A/tariffs/home",
        "POST $A/tariffs/home/versions",
        "POST $A/tariff-assignments",
        "PUT $A/tariffs/tap",
        "POST $A/tariffs/tap/versions",
        "POST $A/tariff-assignments",
    ]
    for call, body in calls:
        if call.startswith("PUT"):
            TariffFields.model_validate(body)
        elif call.endswith("versions"):
            version = make_version(VersionFields.model_validate(body), ZoneInfo("Asia/Shanghai"))
            assert version_problems(version) == []
        else:
            AssignmentFields.model_validate(body)
