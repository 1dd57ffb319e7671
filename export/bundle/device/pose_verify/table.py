"""The report as a person reads it."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

COLUMNS = ("runtime", "precision", "verdict", "mean mm", "p99 mm", "max mm", "p50 ms", "p90 ms", "p99 ms", "n")


def show(report: Mapping[str, Any], manifest: Mapping[str, Any], place: Path) -> None:
    """Print a row for each runtime and precision, the reasons of those that did not pass, and where the report lies."""
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    device = report["device"]
    gpu = device["gpu"]["name"] if device["gpu"] else f"no GPU ({device['no_gpu']})"
    print(f"{report['bundle']['model']} on {device['board'] or device['processor'] or device['machine']}, {gpu}")
    print(settings_line(report))
    print(f"weights: {report['bundle']['weights_origin']}{notice(manifest)}; goldens: {manifest['golden']['source']}")
    asked = [result for result in report["results"] if result["asked"]]
    print(aligned([COLUMNS, *(row(result) for result in asked)]))
    for line in reasons(asked):
        print(line)
    others: dict[str, list[str]] = {}
    for result in report["results"]:
        if not result["asked"]:
            others.setdefault(result["runtime"], []).append(result["precision"])
    if others:
        print("not asked for: " + "; ".join(f"{name} ({', '.join(which)})" for name, which in others.items()))
    if report["overhead"] is not None:
        told = report["overhead"]
        alone = f"{told['runtime']} {told['precision']} alone"
        far = f"{100 * abs(told['share']):.1f} % {'less' if told['share'] < 0 else 'more'}"
        print(f"pose(image) takes {far} than {alone} ({told['rounds']} rounds)")
    if report["missing"]:
        print(f"asked for by name, and did not run: {', '.join(report['missing'])}")
    print(f"{report['outcome']}; {place}")


def settings_line(report: Mapping[str, Any]) -> str:
    """How the device is set: what its latencies are of."""
    of, parts = report["settings"], []
    if of["power_mode"] is not None:
        number = of["power_mode"]["number"]
        parts.append(f"power mode {of['power_mode']['name']}" + ("" if number is None else f" ({number})"))
    elif report["device"]["l4t"]:
        parts.append(f"power mode not known ({of['no_power_mode']})")
    for clock in of["cpu_clocks"]:
        by = f"by {clock['governor']}" if clock["governor"] else "by a governor that is not told"
        parts.append(f"{len(clock['cores'])} cores {by}, {span(clock['min_khz'], clock['max_khz'], 1e3)}")
    parts += [f"GPU {span(clock['min_hz'], clock['max_hz'], 1e6)}" for clock in of["gpu_clocks"]]
    if not of["cpu_clocks"]:
        parts.append("no governor is told")
    limit = "" if of["cpu_limit"] is None else f", but time for {of['cpu_limit']:g} only"
    parts.append(f"{report['device']['usable_cores']} of {report['device']['cores']} cores may be used{limit}")
    threads = {(row["runtime"], row["threads"]): None for row in report["results"] if row["threads"] is not None}
    parts += [f"{runtime} with {count} thread{'s' * (count != 1)}" for runtime, count in threads]
    return "settings: " + "; ".join(parts)


def span(low: int | None, high: int | None, unit: float) -> str:
    """The bounds of a clock; where they are the same, it is pinned, as ``jetson_clocks`` does it."""
    if low is None and high is None:
        return "clocks not told"
    low_mhz, high_mhz = ("?" if bound is None else f"{bound / unit:.0f}" for bound in (low, high))
    return f"pinned at {low_mhz} MHz" if low == high and low is not None else f"{low_mhz} to {high_mhz} MHz"


def reasons(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Why rows did not pass: one line for those of a runtime that share a reason."""
    said: dict[tuple[str, str, str], list[str]] = {}
    for result in results:
        if result["status"] != "pass":
            key = (result["status"], result["runtime"], result["reason"])
            said.setdefault(key, []).append(result["precision"])
    return [f"{key[0]}: {key[1]} ({', '.join(precisions)}): {key[2]}" for key, precisions in said.items()]


def notice(manifest: Mapping[str, Any]) -> str:
    """What the weights are worth, where it is not plain."""
    return f" — {manifest['weights']['notice']}" if manifest["weights"]["notice"] else ""


def row(result: Mapping[str, Any]) -> list[str]:
    """One line's cells; a dash where nothing was measured."""
    parity, latency = result["parity"] or {}, result["latency"] or {}
    figures = [parity.get("mean_mm"), parity.get("p99_mm"), parity.get("max_mm")]
    times = [latency.get("p50_ms"), latency.get("p90_ms"), latency.get("p99_ms")]
    cells = ["–" if figure is None else f"{figure:.3g}" for figure in figures]
    cells += ["–" if time is None else f"{time:.2f}" for time in times]
    return [result["runtime"], result["precision"], result["status"], *cells, str(latency.get("samples", "–"))]


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell."""
    widths = [max(len(cells[index]) for cells in rows) for index in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(cells, widths)).rstrip() for cells in rows]
    return "\n".join(lines)
