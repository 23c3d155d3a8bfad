"""One shard in a process of its own, as a triggerer has it: `python -m …shard_process TASK_ID [SHARD]`.

Prints the log's lines, and the summary as the last of them. Settings come from the environment.
"""

from __future__ import annotations

import asyncio
import json
import sys

from include.batch.engine import BatchEngine
from include.batch.runs import BatchRun
from include.ledger.engine import Engine


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def main(task_id: str, shard: int) -> None:
    engine = await BatchEngine.current()
    summary = await BatchRun(engine, task_id, say).fan_out(shard)
    await engine.close()
    await Engine.close_current()
    say(json.dumps(summary.as_json()))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0))
