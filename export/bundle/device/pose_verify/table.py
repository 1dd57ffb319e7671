"""The report as text for the terminal."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pose_runtime.runtime.processor import limit_note

COLUMNS = ("runtime, precision", "status", "mean error (mm)", "max (mm)", "p50 (ms)", "p99 (ms)")
TYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16", "int8": "int8"}
"""Name, in a session's own words, of the type that a precision asks for."""
MOST_LINES = 2
"""Lines of a reason on a terminal; the report has the whole."""


def print_report(report: Mapping[str, Any], notice: str | None, path: Path) -> None:
    """Print the outcome, a line for each session that ran, the reasons of the others, and the settings."""
    replace_line("")
    bundle, device, overhead = report["bundle"], report["device"], report["overhead"]
    board, gpu = device["board"] or device["processor"] or device["machine"], device["gpu"]
    show(f"{report['outcome']}: {bundle['model']} on {board}, {gpu['name'] if gpu else 'no GPU'}")
    show(f"weights: {bundle['weights_origin']}" + (f" — {notice}" if notice else ""))
    ran = [row for row in report["results"] if row["asked"] and row["parity"]]
    if ran:
        print(aligned([COLUMNS, *map(cells, ran)]))
        show(f"errors: over {ran[0]['parity']['images']} images ({bundle['golden_source']})")
    for line in [*reasons(report["results"]), *computations(report["results"])]:
        show(line)
    if overhead is not None:
        change = f"{100 * abs(overhead['share']):.1f} % {'less' if overhead['share'] < 0 else 'more'}"
        network = f"{overhead['runtime']} {overhead['precision']}"
        show(f"pose(image) takes {change} time than {network} alone ({overhead['rounds']} rounds)")
    if report["missing"]:
        show(f"asked for by name, and did not run: {', '.join(report['missing'])}")
    show(settings_line(report))
    print(f"details: {path}")


def show(line: str) -> None:
    """Print a line; on a terminal, wrap it between words and cut what would take more than ``MOST_LINES``."""
    if sys.stdout.isatty():
        columns = shutil.get_terminal_size().columns
        line = textwrap.fill(
            line, columns, subsequent_indent="  ", max_lines=MOST_LINES, placeholder=" …", break_on_hyphens=False
        )
    print(line)


def replace_line(text: str) -> None:
    """Replace the current line of stderr, if it is a terminal; the text must have no control characters."""
    if sys.stderr.isatty():
        sys.stderr.flush()
        os.write(sys.stderr.fileno(), b"\r\033[K" + text.encode(errors="replace"))  # print escapes these characters


def settings_line(report: Mapping[str, Any]) -> str:
    """Return the settings under which latencies were measured."""
    settings, device, parts = report["settings"], report["device"], []
    if settings["power_mode"] is not None:
        number = settings["power_mode"]["number"]
        parts.append(f"power mode {settings['power_mode']['name']}" + ("" if number is None else f" ({number})"))
    elif device["l4t"]:
        parts.append(f"power mode not known ({settings['no_power_mode']})")
    for clock in settings["cpu_clocks"]:
        governor = f"governor {clock['governor'] or 'not known'}"
        parts.append(f"{len(clock['cores'])} cores, {governor}, {clock_range(clock['min_khz'], clock['max_khz'], 1e3)}")
    parts += [f"GPU {clock_range(clock['min_hz'], clock['max_hz'], 1e6)}" for clock in settings["gpu_clocks"]]
    if not settings["cpu_clocks"]:
        parts.append("governor not known")
    limit = limit_note(settings["cpu_limit"])
    parts.append(f"{device['usable_cores']} of {device['cores']} cores usable{limit}")
    threads = {(row["runtime"], row["threads"]): None for row in report["results"] if row["threads"] is not None}
    parts += [f"{runtime} with {count} thread{'s' * (count != 1)}" for runtime, count in threads]
    return "settings: " + "; ".join(parts)


def clock_range(low: int | None, high: int | None, unit: float) -> str:
    """Return the limits of a clock; if they are the same, it is pinned, as ``jetson_clocks`` does it."""
    if low is None and high is None:
        return "clocks not known"
    low_mhz, high_mhz = ("?" if limit is None else f"{limit / unit:.0f}" for limit in (low, high))
    return f"pinned at {low_mhz} MHz" if low == high else f"{low_mhz} to {high_mhz} MHz"


def reasons(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return why rows did not pass, one line for the rows of a runtime that share a reason."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        if row["status"] != "pass":
            groups.setdefault((row["status"], row["runtime"], row["reason"]), []).append(row["precision"])
    return [
        f"{status}: {runtime} ({', '.join(precisions)}): {reason}"
        for (status, runtime, reason), precisions in groups.items()
    ]


def computations(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the types that convolutions computed in where these are not the precision's, one line for each."""
    groups: dict[str, list[str]] = {}
    for row in rows:
        if row["computes_in"] is not None and TYPES.get(row["precision"], "") not in row["computes_in"].split():
            groups.setdefault(row["computes_in"], []).append(f"{row['runtime']} {row['precision']}")
    return [f"convolutions in {types}: {', '.join(names)}" for types, names in groups.items()]


def cells(row: Mapping[str, Any]) -> list[str]:
    """Return a row's cells; a dash where nothing was measured."""
    parity, latency = row["parity"] or {}, row["latency"] or {}
    errors = (parity.get(f"{name}_mm") for name in ("mean", "max"))
    times = (latency.get(f"{name}_ms") for name in ("p50", "p99"))
    texts = ["–" if error is None else f"{error:.3g}" for error in errors]
    texts += ["–" if time is None else f"{time:.2f}" for time in times]
    return [f"{row['runtime']} {row['precision']}", row["status"], *texts]


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return lines with columns as wide as their widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)
