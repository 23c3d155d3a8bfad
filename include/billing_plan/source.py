"""Asking the source of readings that Airflow's connection `meter_source` names."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from include.billing.model import Commodity
from include.billing_plan.model import Pull
from include.kit.db import Database
from include.kit.egress import EgressGuard
from include.kit.http import OutboundClient
from include.readings.pull import PullReport, pull_missing
from include.readings.source import MeterSource
from include.settings import get_settings

#: Requests at once: batches are asked for one after the other.
PER_HOST = 2


@dataclass(frozen=True)
class SourceLogin:
    """Where the source is, and how to log in there: by name and password, or by a token."""

    base_url: str
    login: str | None = None
    password: str | None = None
    token: str | None = None


@asynccontextmanager
async def pulling(database: Database, source: SourceLogin | None) -> AsyncIterator[Pull | None]:
    """Lend what asks the source; None where there is none."""
    if source is None:
        yield None
        return
    settings = get_settings()
    client = OutboundClient(
        EgressGuard(settings.egress_allow),
        per_host_limit=PER_HOST,
        response_limit_bytes=settings.response_limit_bytes,
    )

    async def pull(project_id: str, commodity: Commodity, at: datetime) -> str:
        meters = MeterSource(
            client,
            source.base_url,
            project_id,
            login=source.login,
            password=source.password,
            token=source.token,
        )
        return _describe(await pull_missing(database, project_id, commodity, at, fetch=meters.fetch))

    try:
        yield pull
    finally:
        await client.aclose()


def _describe(report: PullReport) -> str:
    return (
        f"readings: {report.asked} meters lacked one, {report.stored} came from the source,"
        f" {report.quarantined} in doubt, {report.refused} not usable; {report.failed} without an answer"
    )
