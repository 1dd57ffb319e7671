"""Who still gives signs of life, by what the scheduler last heard: no device is asked for it, least of all one that
measures.
"""

import time
from collections.abc import Callable, Mapping

SILENT_S = 60.0
"""A worker's heartbeats come every half second, or every few seconds in a large fleet; one whose machine is short of
memory while it measures may miss many of them, and is well."""


class Pulse:
    """Safe as long as one thread looks.

    Args:
        silent_s: after how long without a heartbeat a worker counts as silent.
        clock: seconds. The scheduler's own clock, which may be another machine's, is only compared with itself.
    """

    def __init__(self, silent_s: float | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._silent_s = SILENT_S if silent_s is None else silent_s
        self._clock = clock
        self._beats: dict[str, tuple[float, float]] = {}
        """Address → when the scheduler last heard of it, and since when it says so."""

    def silent(self, last_seen: Mapping[str, float]) -> dict[str, str]:
        """Those of the workers that are silent, with the reason.

        Args:
            last_seen: address → when the scheduler last heard of it, by the scheduler's clock.
        """
        now = self._clock()
        known = {address: self._beats.get(address, (seen, now)) for address, seen in last_seen.items()}
        self._beats = {a: known[a] if known[a][0] == seen else (seen, now) for a, seen in last_seen.items()}
        since = {address: now - when for address, (_, when) in self._beats.items()}
        return {
            address: f"the scheduler has not heard of it for {self._silent_s:g} s"
            for address, seconds in since.items()
            if seconds >= self._silent_s
        }
