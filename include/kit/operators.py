"""What operators that work in a worker have in common."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from include.errors import DatabaseUnavailableError

#: Of their tasks: only a database that is away is worth another try, and a worker that died.
DEFAULTS = {"retries": 2, "retry_delay": timedelta(seconds=10)}


def run_in_worker(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine. Raises AirflowFailException, which ends all tries, unless another may help."""
    try:
        return asyncio.run(work)
    except DatabaseUnavailableError as error:
        raise AirflowException(str(error)) from error
    except Exception as error:
        raise AirflowFailException(f"{type(error).__name__}: {error}") from error
