"""A process that asks the devices of a task for their versions and is killed before it records that it did.

python -m tests.upgrade_child DATABASE_URL GATEWAY_URL ID
"""

from __future__ import annotations

import asyncio
import sys

from include.batch.repository import TaskRepository
from include.gateway.connect import create_gateway, parse_connection
from include.kit.db import Database
from tests.upgrade_rows import Driver


async def main(database_url: str, gateway_url: str, id: int) -> None:
    database = await Database(database_url, max_size=4).open()
    gateway = create_gateway(parse_connection(gateway_url))
    await gateway.open()
    driver = Driver(database, gateway, claimer=7)
    async with database.transaction() as connection:
        task = await TaskRepository(connection).find_task(id)
    assert task is not None
    locked, subtasks = await driver.claim(task)
    await asyncio.gather(*[driver.performer.perform(locked, one) for one in subtasks])
    sys.stdout.write("asked\n")
    sys.stdout.flush()
    await asyncio.sleep(60)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
