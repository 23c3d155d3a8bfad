"""An API server that is killed between sending an event and recording it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.event_rows import courier_at_work, happen, subscribe, until_settled
from tests.integration.kit.peers import OK, peer

ROOT = Path(__file__).parents[3]
SERVER = """
import uvicorn
from api_plugin.app import create_app
uvicorn.run(create_app("management"), host="127.0.0.1", port=0, log_level="warning")
"""


@pytest.mark.usefixtures("local_targets")
async def test_what_it_had_sent_is_told_again_under_the_same_id(database, connection, database_url) -> None:
    heard = asyncio.Event()

    async def behave(request, reader, writer):
        heard.set()
        if len(receiver.requests) == 1:
            await asyncio.sleep(600)  # the answer never comes: nothing is recorded
        return OK

    environment = {
        **os.environ,
        "CARILLON_DATABASE_URL": database_url,
        "CARILLON_EGRESS_ALLOW": "127.0.0.0/8",
        "CARILLON_EVENT_TIMEOUT_SECONDS": "5",
    }
    async with peer(behave) as receiver:
        await subscribe(database, receiver.url)
        server = await asyncio.create_subprocess_exec(sys.executable, "-c", SERVER, cwd=ROOT, env=environment)
        try:
            happen(connection)
            async with asyncio.timeout(60):
                await heard.wait()
        finally:
            server.send_signal(signal.SIGKILL)
            await server.wait()
        row = connection.execute("SELECT * FROM event").fetchone()
        assert (row["attempts"], row["delivered_at"], row["last_error"]) == (1, None, None)
        async with courier_at_work(database, poll=0.5):
            [event] = await until_settled(connection, 60)
    first, second = receiver.requests
    assert (event["attempts"], event["delivered_at"] is not None) == (2, True)
    ids = [[line for line in one.split(b"\r\n") if line.startswith(b"webhook-id")] for one in (first, second)]
    assert ids[0] == ids[1] == [f"webhook-id: {event['webhook_id']}".encode()]
    assert first.split(b"\r\n\r\n", 1)[1] == second.split(b"\r\n\r\n", 1)[1]
