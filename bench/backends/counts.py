"""Proof in words."""

from collections import Counter


def in_words(counts: Counter[str]) -> str:
    """``47 of 47 convolutions in fp32``."""
    total = counts.total()
    return ", ".join(f"{count} of {total} convolutions in {name}" for name, count in counts.most_common())
