"""Run the simulator until SIGTERM or SIGINT: `python -m include.simulator [--host 127.0.0.1] [--port 0]`."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from pathlib import Path

from include.simulator.push import Pusher
from include.simulator.server import Simulator, serve


async def main(host: str, port: int, pusher: Pusher) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    server = await serve(Simulator(pusher), host, port)
    bound = server.sockets[0].getsockname()[1]
    sys.stdout.write(f"simulator listens on http://{host}:{bound}\n")
    sys.stdout.flush()
    await stop.wait()
    server.close()


def new_loop() -> asyncio.AbstractEventLoop:
    """Return uvloop's loop; asyncio's own where there is no wheel of it, which is only slower."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="include.simulator", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--push-url", help="where what devices say is pushed")
    parser.add_argument("--push-token-file", type=Path, help="the file with the token for that")
    arguments = parser.parse_args()
    own_pusher = Pusher(arguments.push_url, token_file=arguments.push_token_file)
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main(arguments.host, arguments.port, own_pusher))
