"""What Airflow loads of us into which process."""

from __future__ import annotations

import json
import subprocess
import sys

from include.cli.home import ROOT

LOOK = """
import json, sys
from plugins.carillon_plugin import CarillonPlugin
before = "api_plugin.app" in sys.modules
apps = CarillonPlugin().fastapi_apps
print(json.dumps([before, [app["url_prefix"] for app in apps], CarillonPlugin().fastapi_apps is apps]))
"""


def test_only_who_asks_for_the_apps_imports_them() -> None:
    """Seconds and megabytes of each scheduler, triggerer, and parse of DAG files."""
    done = subprocess.run(
        [sys.executable, "-c", LOOK], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120
    )
    imported, prefixes, kept = json.loads(done.stdout.splitlines()[-1])
    assert not imported
    assert {"/crontab", "/v5/iot", "/carillon/v1"} <= set(prefixes)
    assert kept
