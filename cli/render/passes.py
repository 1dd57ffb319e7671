"""Output of ``bench``: one table for each pass beside the rounds."""

from collections.abc import Sequence

from rich.markup import escape

from bench.results import cells
from bench.results.result import ImageToJoints, Result, Row, WarmUpRecord
from cli.console import out, table


def print_passes(result: Result) -> None:
    """Print launches, starts, image to joints, throughput and energy, if the result has them."""
    _print_launches(result)
    _print_starts(result)
    _print_image_to_joints(result)
    _print_throughput(result)
    _print_energy(result)


def _print_launches(result: Result) -> None:
    """Print the figures of each launch, and the interval of all rounds."""
    grid = table("launches", "precision", "p50 of each (ms)", "speed-up of each", "of all rounds")
    for row in result.rows:
        if row.launches:
            ratios = [launch.speed_up for launch in row.launches if launch.speed_up is not None]
            pooled = row.speed_up
            grid.add_row(
                row.runtime,
                row.precision,
                cells.each([launch.p50_ms for launch in row.launches], 2),
                cells.each(ratios, 3),
                f"{pooled.median:.3f} \\[{pooled.low:.3f}, {pooled.high:.3f}]" if pooled else cells.NOTHING,
            )
    if grid.row_count:
        out.print(grid)


def _print_starts(result: Result) -> None:
    """Print the time from the start of a process to the first result, and to a steady state."""
    grid = table(
        "start", "precision", "import (ms)", "load (ms)", "first inference (ms)", "processes", "steady after (s)"
    )
    for row in result.rows:
        if (start := row.cold_start) is not None:
            times = map(cells.spread, (start.import_ms, start.load_ms, start.first_ms))
            grid.add_row(row.runtime, row.precision, *times, str(start.processes), _steady(row.warm_up))
    if grid.row_count:
        out.print(grid)


def _steady(warm_up: WarmUpRecord | None) -> str:
    if warm_up is None:
        return "–"
    return f"{warm_up.seconds:.1f}" if warm_up.state == "steady" else f"not within {warm_up.seconds:.1f}"


def _print_image_to_joints(result: Result) -> None:
    """Print the time from a photo in memory to joints in its pixels, or each reason why there is none."""
    stages = ("crop (ms)", "normalise (ms)", "network (ms)", "decode (ms)")
    grid = table("image to joints", "precision", "photo", "total p50 (ms)", *stages, "samples")
    for row in result.rows:
        if (times := row.image_to_joints) is not None:
            grid.add_row(*_name(row), *_stages(times))
    if grid.row_count:
        out.print(grid)
    _print_reasons("image to joints", [row.image_to_joints_reason for row in result.rows if row.verdict != "invalid"])


def _name(row: Row) -> tuple[str, str]:
    """Return a row's name, with a mark if it is unstable."""
    return row.runtime, row.precision + (" [red](unstable)[/]" if row.verdict == "unstable" else "")


def _stages(times: ImageToJoints) -> tuple[str, ...]:
    normalise = f"{times.normalise_p50_ms:.2f}" if times.normalise_p50_ms is not None else "–"
    stages = (f"{times.crop_p50_ms:.2f}", normalise, f"{times.network_p50_ms:.2f}", f"{times.decode_p50_ms:.2f}")
    return f"{times.image_width}×{times.image_height}", f"{times.total_p50_ms:.2f}", *stages, str(times.samples)


def _print_throughput(result: Result) -> None:
    """Print images per second at each point, with the time of a call."""
    grid = table("throughput", "precision", "batch", "in flight", "images/s", "p50 of a call (ms)", "calls", "time (s)")
    for row in result.rows:
        for point in row.throughput or ():
            rates = (f"{point.images_per_s:.1f}", f"{point.p50_ms:.2f}", str(point.calls), f"{point.seconds:.1f}")
            grid.add_row(*_name(row), str(point.batch), str(point.in_flight), *rates)
    if grid.row_count:
        out.print(grid)
    _print_reasons("throughput", [row.throughput_reason for row in result.rows if row.verdict != "invalid"])


def _print_energy(result: Result) -> None:
    """Print the energy of an inference and its source, or each reason why there is none."""
    grid = table(
        "energy",
        "precision",
        "gross (J)",
        "net of idle (J)",
        "power (W)",
        "idle (W)",
        "time (s)",
        "inferences",
        "source",
    )
    for row in result.rows:
        if (energy := row.energy) is not None:
            watts = (f"{energy.power_w:.1f}", f"{energy.idle_w:.1f}", f"{energy.seconds:.0f}", str(energy.inferences))
            grid.add_row(
                row.runtime, row.precision, f"{energy.gross_j:.3g}", f"{energy.net_j:.3g}", *watts, energy.source
            )
    if grid.row_count:
        out.print(grid)
    for caveat in dict.fromkeys(row.energy.caveat for row in result.rows if row.energy is not None):
        out.print(f"energy: {escape(caveat)}")
    if result.protocol.get("energy"):
        _print_reasons("energy", [row.energy_reason for row in result.rows if row.energy is None])


def _print_reasons(name: str, reasons: Sequence[str | None]) -> None:
    for reason in dict.fromkeys(reasons):
        if reason is not None:
            out.print(f"[dim]{name} not available:[/] {escape(reason)}", soft_wrap=True)
