"""A simulator that pushes what its devices say to the own API."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from tests.builders import serve_http
from tests.integration.gateway.simulated import SimulatorProcess


@dataclass
class Platform:
    """A simulator, and where it pushes.

    :ivar api_port: nobody listens there but while the API is served
    """

    simulator: SimulatorProcess
    api_port: int

    def served(self) -> AbstractAsyncContextManager[str]:
        """Serve the API to which it pushes."""
        return serve_http("management", self.api_port)
