"""Benchmarks with short warm-ups and passes, whose figures mean nothing; as a main module, the command with them.

A worker imports the main module again: what is heavy is imported in functions.
"""

from typing import Any


def short_modes() -> dict[str, Any]:
    """Return the modes by their names in ``bench.harness.benchmark``, shortened."""
    from dataclasses import replace

    from bench.harness.benchmark import PUBLISH_MODE, QUICK_MODE
    from bench.stats.steadiness import WarmUpRule

    changes: dict[str, Any] = {"warm_up": WarmUpRule(minimum_s=0.1, cap_s=0.2), "image_s": 0.1, "throughput_s": 0.05}
    modes = {"QUICK_MODE": QUICK_MODE, "PUBLISH_MODE": PUBLISH_MODE}
    return {name: replace(mode, settings=replace(mode.settings, **changes)) for name, mode in modes.items()}


def shorten() -> None:
    """Let the benchmarks of this process be short."""
    from bench.harness import benchmark

    vars(benchmark).update(short_modes())


if __name__ == "__main__":
    from cli.main import run

    shorten()
    run()
