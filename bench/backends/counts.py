"""Proof in words."""

from collections import Counter
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Executed:
    """The graph that a runtime really executes: its nodes, and its convolutions by precision."""

    nodes: int
    convolutions: Counter[str]

    def as_facts(self) -> dict[str, Any]:
        """As ``bench.backends.protocol.Accountable`` has it."""
        return {"nodes": self.nodes, "convolutions": dict(self.convolutions)}


def in_words(counts: Counter[str]) -> str:
    """``47 of 47 convolutions in fp32``."""
    total = counts.total()
    return ", ".join(f"{count} of {total} convolutions in {name}" for name, count in counts.most_common())
