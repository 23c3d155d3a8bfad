"""Waves: how the targets are divided, and whether the next part may begin."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from include.batch.rollout.model import Wave


def wave_sizes(waves: Sequence[Wave], total: int) -> list[int]:
    """Return the size of each wave; what none of them takes is the last one's, late ones may be empty."""
    sizes: list[int] = []
    left = total
    for wave in waves:
        wanted = ceil(total * wave.percent / 100) if wave.percent else wave.count or left
        sizes.append(min(left, wanted))
        left -= sizes[-1]
    return [*sizes[:-1], sizes[-1] + left]


def hold_reason(wave: Wave, *, number: int, size: int, succeeded: int, approved: bool) -> str | None:
    """Say why the wave after one that has ended does not open; None where it does."""
    if wave.success_percent is not None and succeeded * 100 < wave.success_percent * size:
        return (
            f"wave {number} ended with {succeeded} of {size} successful,"
            f" {wave.success_percent.normalize():f} % are asked for"
        )
    if wave.approval and not approved:
        return f"wave {number} waits for an approval"
    return None
