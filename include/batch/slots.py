"""How many sub-tasks a process has on their way at a time, shared by the shards that are at work in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable


class Slots:
    """A number of places; each shard has as many as any other, those that have nothing to do have none.

    :param count: of the whole process
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.used: Counter[Hashable] = Counter()
        self.hungry: set[Hashable] = set()

    @property
    def total(self) -> int:
        """How many are in use."""
        return self.used.total()

    def share(self, shard: Hashable) -> int:
        """Return how many of all places are this shard's while it is at work."""
        at_work = self.hungry | self.used.keys() | {shard}
        return max(1, self.count // len(at_work))

    def room(self, shard: Hashable) -> int:
        """Return how many more places it may take now."""
        return max(0, min(self.share(shard) - self.used[shard], self.count - self.total))

    def want(self, shard: Hashable, more: bool) -> None:
        """Say whether it could do with more places than it has."""
        (self.hungry.add if more else self.hungry.discard)(shard)

    def take(self, shard: Hashable, left: Callable[[], None]) -> Callable[[], None]:
        """Take a place; returns what to call to leave it, once, which calls `left`."""
        self.used[shard] += 1

        def leave() -> None:
            self.used[shard] -= 1
            if not self.used[shard]:
                del self.used[shard]
            left()

        return leave
