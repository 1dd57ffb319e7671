"""Quick benchmarks with short warm-ups and passes, whose figures mean nothing; as a main module, the command with them.

A worker imports the main module again: what is heavy is imported in functions.
"""

from typing import Any


def short_mode() -> Any:
    """Return the quick mode, shortened."""
    from dataclasses import replace

    from bench.harness.benchmark import QUICK_MODE
    from bench.stats.steadiness import WarmUpRule

    warm_up = WarmUpRule(minimum_s=0.1, cap_s=0.2)
    return replace(QUICK_MODE, settings=replace(QUICK_MODE.settings, warm_up=warm_up, image_s=0.1, throughput_s=0.05))


def shorten() -> None:
    """Let the quick benchmarks of this process be short."""
    from bench.harness import benchmark

    benchmark.QUICK_MODE = short_mode()


if __name__ == "__main__":
    from cli.main import run

    shorten()
    run()
