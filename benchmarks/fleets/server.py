"""Serve our apps behind a real HTTP server: `python -m benchmarks.fleets.server API [API …]`.

It says its port, and stays until standard input ends.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from api_plugin.app import APIS, create_app


async def serve(names: Sequence[str]) -> None:
    """Run the apps of these APIs, with what they do beside, as Airflow's API server has them."""
    async with AsyncExitStack() as stack:
        routes = []
        for api in (one for one in APIS if one.name in names):
            app = create_app(api.name)
            await stack.enter_async_context(app.router.lifespan_context(app))
            routes += [Mount(prefix, app) for prefix in api.prefixes]
        config = uvicorn.Config(Starlette(routes=routes), port=0, lifespan="off", log_level="warning")
        server = uvicorn.Server(config)
        running = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        print(server.servers[0].sockets[0].getsockname()[1], flush=True)
        await asyncio.to_thread(sys.stdin.read)
        server.should_exit = True
        await running


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1:]))
