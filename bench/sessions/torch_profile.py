"""The time of each part in eager PyTorch, by clocks around its modules.

Eager PyTorch on a CPU returns when the work is done, so two readings of a clock around a module are its time. That
costs about a microsecond a module; ``torch.profiler`` records every operator, which costs far more. On a GPU every
reading waits for the stream, so that modules no longer overlap with their own launching.
"""

import time
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from bench.sessions.parts import part_of
from bench.sessions.protocol import LayerTime


class TorchProfiler:
    """The network with hooks. See ``Profiler``."""

    source = "a clock around each module"

    def __init__(
        self, network: Any, run: Callable[[NDArray[Any]], object], wait: Callable[[], object] | None = None
    ) -> None:
        self.run, self._wait = run, wait
        self._runs = 0
        self._totals_ns: dict[str, int] = {}
        self._starts_ns: dict[str, int] = {}
        network.register_forward_pre_hook(self._count)
        for name in outermost([name for name, _ in network.named_modules() if part_of(name) is not None]):
            module = network.get_submodule(name)
            module.register_forward_pre_hook(self._begin(name))
            module.register_forward_hook(self._end(name))

    def start(self) -> None:
        """See ``Profiler``."""
        self._runs, self._totals_ns = 0, {}

    def layers(self) -> list[LayerTime]:
        """See ``Profiler``."""
        return [LayerTime(name, total / 1e6 / self._runs) for name, total in self._totals_ns.items()]

    def _count(self, *_: Any) -> None:
        self._runs += 1

    def _now_ns(self) -> int:
        if self._wait is not None:
            self._wait()
        return time.perf_counter_ns()

    def _begin(self, name: str) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            self._starts_ns[name] = self._now_ns()

        return hook

    def _end(self, name: str) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            ended = self._now_ns()
            self._totals_ns[name] = self._totals_ns.get(name, 0) + ended - self._starts_ns[name]

        return hook


def outermost(names: list[str]) -> list[str]:
    """Return the names inside no other of them: ``["a", "a.b", "c.d"]`` → ``["a", "c.d"]``."""
    return [name for name in names if not any(name.startswith(f"{other}.") for other in names)]
