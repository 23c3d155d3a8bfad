"""The apps as Airflow's plugin list has them, made when they are asked for."""

from __future__ import annotations

from functools import cache
from typing import Any


class LazyApps:
    """An attribute of a plugin: all processes of Airflow load plugins, only its API server reads this one.

    To import the APIs costs seconds, which a scheduler, a triggerer and each parse of DAG files would pay.
    """

    def __get__(self, plugin: object, owner: type) -> list[dict[str, Any]]:
        return _make_apps()


@cache
def _make_apps() -> list[dict[str, Any]]:
    from api_plugin.app import APPS

    return [{"name": f"carillon {name}", "url_prefix": prefix, "app": make()} for name, prefix, make in APPS]
