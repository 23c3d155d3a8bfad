"""The first part of the path is a setting, read when the process starts."""

from __future__ import annotations

import subprocess
import sys

import pytest

PREFIXES = (
    "from api_plugin.app import APPS; print([prefix for name, prefix, _ in APPS if name == 'maintenance'])"
)


@pytest.mark.parametrize(("block", "prefix"), [("", "/mixtimer"), ("plant-7", "/plant-7")])
def test_the_block(block, prefix):
    environment = {"CARILLON_MAINTENANCE_BLOCK": block} if block else {}
    done = subprocess.run(
        [sys.executable, "-c", PREFIXES], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == f"['{prefix}']"


@pytest.mark.parametrize("block", ["", "a/b", "../x", "维保"])
def test_what_is_no_block(block):
    done = subprocess.run(
        [sys.executable, "-c", PREFIXES],
        env={"CARILLON_MAINTENANCE_BLOCK": block},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "maintenance_block" in done.stderr
