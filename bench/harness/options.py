"""Options of a benchmark, as the command line and a fleet's matrix name them."""

from typing import Literal

from pydantic import Field

from bench.results.record import Record


class BenchOptions(Record):
    """Options of ``convnextpose bench``, under the same names."""

    mode: Literal["quick", "publish"] = "quick"
    threads: int | None = Field(default=None, ge=1, le=1024)
    """Threads of every runtime; None: all cores of the device."""
    budget_s: float | None = Field(default=None, ge=1)
    half_width: float = Field(default=0.01, ge=0.0005, le=0.5)
    deadlines_ms: tuple[float, ...] | None = None
    """None: the defaults of ``bench``."""
    seed: int = Field(default=0, ge=0)
    throughput: bool = False
    profile: bool = False
    energy: bool = False
    cuda_graph: bool = True
    """Launch engines as CUDA graphs, as the recipe's trtexec does."""
    reference: str | None = None
    """None: see ``bench.harness.candidates.choose_reference``."""
