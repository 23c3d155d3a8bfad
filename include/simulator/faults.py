"""What goes wrong in the simulator, as the admin API sets it. Shares are probabilities from 0 to 1."""

from __future__ import annotations

from random import Random
from typing import Annotated, Literal
from zlib import crc32

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0, le=3600)]


class Latency(BaseModel):
    """How long a device takes to answer; `seconds` is the mean (of `fixed` and `uniform` the middle)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    distribution: Literal["fixed", "uniform", "exponential"] = "fixed"
    seconds: Seconds = 0.0

    def draw(self, random: Random) -> float:
        if not self.seconds or self.distribution == "fixed":
            return self.seconds
        if self.distribution == "uniform":
            return random.uniform(0, 2 * self.seconds)
        return random.expovariate(1 / self.seconds)


class OtaFaults(BaseModel):
    """How devices take upgrades. A share means always the same devices, for each fault others.

    :ivar seconds: from the notice to the result
    :ivar steps: reports of progress on the way, the last is 100
    :ivar reboot: seconds after the result until the device answers what it is asked
    :ivar results: result codes with the shares of devices that end with them, half way
    :ivar keeps_version: the device says that all went well, and has its old version
    :ivar silent: the device answers no event at all
    :ivar deaf: the device answers questions for its version and loads nothing
    :ivar twice: the device says everything two times
    :ivar slow, slowness: devices that take so many times as long
    :ivar away, away_seconds: devices that are offline for so long, half way
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seconds: Seconds = 1.0
    steps: Annotated[int, Field(ge=1, le=100)] = 4
    reboot: Seconds = 0.0
    results: dict[Annotated[int, Field(ge=1, le=255)], Share] = Field(default_factory=dict)
    keeps_version: Share = 0.0
    silent: Share = 0.0
    deaf: Share = 0.0
    twice: Share = 0.0
    slow: Share = 0.0
    slowness: Annotated[float, Field(ge=1, le=1000)] = 10.0
    away: Share = 0.0
    away_seconds: Seconds = 1.0

    def struck(self, fault: str, device_id: str) -> bool:
        """Tell whether a device has one of the faults that are a share."""
        return _falls_into(f"{fault} {device_id}", getattr(self, fault))

    def duration(self, device_id: str) -> float:
        """Return the seconds that a device takes."""
        return self.seconds * (self.slowness if self.struck("slow", device_id) else 1.0)

    def result(self, device_id: str) -> int:
        """Return the result code with which a device ends."""
        until = 0.0
        for code, share in self.results.items():
            until += share
            if _falls_into(f"result {device_id}", until):
                return code
        return 0


class Faults(BaseModel):
    """Everything that can be set.

    :ivar offline: devices that are away; `offline_share` of all others are, too, always the same ones
    :ivar unknown: devices that do not exist
    :ivar loss: the device acts, and its answer is lost: the gateway says so after `patience` seconds
    :ivar refuse: the device answers with result code 1
    :ivar unavailable: the gateway answers 503, and the device hears nothing
    :ivar garbage: the device acts, and the answer cannot be read, each time in another way
    :ivar reset: the device acts, and the connection is reset
    :ivar hang: the device acts, and no answer ever comes
    :ivar duplicate: the answer comes twice
    :ivar wrong_version: devices that report another version than they have, always the same ones
    :ivar token: what `X-Auth-Token` must be; None: anybody may call
    :ivar ota: how upgrades go
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    latency: Latency = Latency()
    offline: frozenset[str] = frozenset()
    offline_share: Share = 0.0
    unknown: frozenset[str] = frozenset()
    loss: Share = 0.0
    patience: Seconds = 20.0
    refuse: Share = 0.0
    unavailable: Share = 0.0
    garbage: Share = 0.0
    reset: Share = 0.0
    hang: Share = 0.0
    duplicate: Share = 0.0
    wrong_version: Share = 0.0
    token: str | None = None
    seed: int | None = None
    ota: OtaFaults = OtaFaults()

    @property
    def calm(self) -> bool:
        """Whether a command of a device that is there is simply answered."""
        chances = (self.loss, self.refuse, self.unavailable, self.garbage, self.reset, self.hang)
        return not any(chances) and not self.duplicate and not self.latency.seconds

    def takes_offline(self, device_id: str) -> bool:
        return device_id in self.offline or _falls_into(device_id, self.offline_share)

    def misreports(self, device_id: str) -> bool:
        return _falls_into(device_id, self.wrong_version)


def _falls_into(device_id: str, share: float) -> bool:
    """Tell whether a device belongs to a share of all: the same ones at each call, also after a restart."""
    return share > 0 and crc32(device_id.encode()) < share * 2**32
