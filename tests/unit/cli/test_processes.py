"""The table of processes and the process manager's configuration."""

from __future__ import annotations

import configparser
import shlex
from pathlib import Path

import pytest

from include.cli.home import Home
from include.cli.processes import Process, airflow_argv, build_processes
from include.cli.supervisor import render_config
from include.settings import Settings


class FakeServer:
    def argv(self) -> list[str]:
        return ["postgres", "-c", "search_path=100%"]


def processes(**settings: int) -> list[Process]:
    return build_processes(Settings(**settings), FakeServer(), 9999)  # type: ignore[arg-type]


def test_one_of_each_by_default() -> None:
    names = [process.name for process in processes()]
    assert names == ["postgres", "simulator", "api-server", "scheduler", "dag-processor", "triggerer"]


def test_no_simulator_beside_a_gateway_of_the_users_own() -> None:
    names = [process.name for process in build_processes(Settings(), FakeServer())]  # type: ignore[arg-type]
    assert names == ["postgres", "api-server", "scheduler", "dag-processor", "triggerer"]


def test_more_schedulers_and_triggerers() -> None:
    names = [process.name for process in processes(schedulers=2, triggerers=3)]
    assert names[2:] == [
        *(
            "api-server",
            "scheduler",
            "scheduler-2",
            "dag-processor",
            "triggerer",
            "triggerer-2",
            "triggerer-3",
        )
    ]


def test_log_servers_have_ports_of_their_own() -> None:
    ports = [value for process in processes(schedulers=2, triggerers=2) for value in process.env.values()]
    assert len(ports) == 4
    assert len(set(ports)) == 4


def test_airflow_is_run_by_this_interpreter() -> None:
    assert airflow_argv("api-server")[1:] == ["-m", "airflow", "api-server"]


def test_config_reads_back(tmp_path: Path) -> None:
    """Spaces and percent signs in paths survive supervisord's own syntax."""
    home = Home(tmp_path / "a home 100%")
    text = render_config(home, processes(), Path("/tmp/s/control"))
    config = configparser.RawConfigParser(inline_comment_prefixes=(" ;", "\t;"))
    config.read_string(text)
    assert shlex.split(config["program:postgres"]["command"].replace("%%", "%"))[-1] == "search_path=100%"
    assert config["program:scheduler"]["stdout_logfile"] == f"{tmp_path}/a home 100%%/logs/scheduler.log"
    assert config["group:airflow"]["programs"] == "api-server,scheduler,dag-processor,triggerer"
    assert config["program:postgres"]["autostart"] == "true"
    assert config["program:scheduler"]["autostart"] == "false"
    assert config["program:simulator"]["command"].endswith("-m include.simulator --port 9999")


def test_database_ends_last(tmp_path: Path) -> None:
    config = configparser.RawConfigParser()
    config.read_string(render_config(Home(tmp_path), processes(), Path("/tmp/s/control")))
    order = [config.getint(f"group:{name}", "priority") for name in ("database", "devices", "airflow")]
    assert order == sorted(order)


@pytest.mark.parametrize("name", ["postgres", "scheduler"])
def test_whole_process_groups_are_killed(tmp_path: Path, name: str) -> None:
    config = configparser.RawConfigParser()
    config.read_string(render_config(Home(tmp_path), processes(), Path("/tmp/s/control")))
    assert config.getboolean(f"program:{name}", "killasgroup")
