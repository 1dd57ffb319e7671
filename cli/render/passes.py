"""What was measured beside the rounds: a view of ``bench.results.result``, one table a pass."""

from collections.abc import Sequence

from rich.markup import escape

from bench.results import cells
from bench.results.result import ImageToJoints, Result, Row, WarmUpRecord
from cli.console import out, table


def passes(result: Result) -> None:
    """Launches, starts, image to joints, throughput and energy, as far as there are any."""
    _launches(result)
    _starts(result)
    _image_to_joints(result)
    _throughput(result)
    _energy(result)


def _launches(result: Result) -> None:
    """What each launch said alone, beside the interval of all rounds."""
    shown = table("launches", "precision", "p50 ms of each", "speed-up of each", "of all rounds")
    for row in result.rows:
        if row.launches:
            ratios = [launch.speed_up for launch in row.launches if launch.speed_up is not None]
            pooled = row.speed_up
            shown.add_row(
                row.runtime,
                row.precision,
                cells.each([launch.p50_ms for launch in row.launches], 2),
                cells.each(ratios, 3),
                f"{pooled.median:.3f} \\[{pooled.low:.3f}, {pooled.high:.3f}]" if pooled else cells.NOTHING,
            )
    if shown.row_count:
        out.print(shown)


def _starts(result: Result) -> None:
    """From the beginning of a fresh process to the first result, and from there until it is steady."""
    shown = table("start", "precision", "import ms", "load ms", "first inference ms", "processes", "steady after s")
    for row in result.rows:
        if (of := row.cold_start) is not None:
            times = map(cells.spread, (of.import_ms, of.load_ms, of.first_ms))
            shown.add_row(row.runtime, row.precision, *times, str(of.processes), _steady(row.warm_up))
    if shown.row_count:
        out.print(shown)


def _steady(warm_up: WarmUpRecord | None) -> str:
    if warm_up is None:
        return "–"
    return f"{warm_up.seconds:.1f}" if warm_up.state == "steady" else f"not within {warm_up.seconds:.1f}"


def _image_to_joints(result: Result) -> None:
    """The way of one person from a photo in memory to joints in its pixels; why there is none, once for each reason."""
    stages = ("crop ms", "normalise ms", "network ms", "decode ms")
    shown = table("image to joints", "precision", "photo", "total p50 ms", *stages, "samples")
    for row in result.rows:
        if (of := row.image_to_joints) is not None:
            shown.add_row(*_named(row), *_way(of))
    if shown.row_count:
        out.print(shown)
    _reasons("image to joints", [row.image_to_joints_reason for row in result.rows if row.verdict != "invalid"])


def _named(row: Row) -> tuple[str, str]:
    """An unstable row's figures are shown, never ranked."""
    return row.runtime, row.precision + (" [red](unstable)[/]" if row.verdict == "unstable" else "")


def _way(of: ImageToJoints) -> tuple[str, ...]:
    normalise = f"{of.normalise_p50_ms:.2f}" if of.normalise_p50_ms is not None else "–"
    stages = (f"{of.crop_p50_ms:.2f}", normalise, f"{of.network_p50_ms:.2f}", f"{of.decode_p50_ms:.2f}")
    return f"{of.image_width}×{of.image_height}", f"{of.total_p50_ms:.2f}", *stages, str(of.samples)


def _throughput(result: Result) -> None:
    """Images a second at each point, with what a call takes there."""
    shown = table("throughput", "precision", "batch", "in flight", "images/s", "p50 ms of a call", "calls", "s")
    for row in result.rows:
        for point in row.throughput or ():
            rates = (f"{point.images_per_s:.1f}", f"{point.p50_ms:.2f}", str(point.calls), f"{point.seconds:.1f}")
            shown.add_row(*_named(row), str(point.batch), str(point.in_flight), *rates)
    if shown.row_count:
        out.print(shown)
    _reasons("throughput", [row.throughput_reason for row in result.rows if row.verdict != "invalid"])


def _energy(result: Result) -> None:
    """Joules an inference, with what they are of; why there are none, once for each reason."""
    shown = table("energy", "precision", "J gross", "J net of idle", "W", "W idle", "s", "inferences", "source")
    for row in result.rows:
        if (of := row.energy) is not None:
            watts = (f"{of.power_w:.1f}", f"{of.idle_w:.1f}", f"{of.seconds:.0f}", str(of.inferences))
            shown.add_row(row.runtime, row.precision, f"{of.gross_j:.3g}", f"{of.net_j:.3g}", *watts, of.source)
    if shown.row_count:
        out.print(shown)
    for caveat in dict.fromkeys(row.energy.caveat for row in result.rows if row.energy is not None):
        out.print(f"energy: {escape(caveat)}")
    if result.protocol.get("energy"):
        _reasons("energy", [row.energy_reason for row in result.rows if row.energy is None])


def _reasons(what: str, reasons: Sequence[str | None]) -> None:
    for reason in dict.fromkeys(reasons):
        if reason is not None:
            out.print(f"[dim]{what} not available:[/] {escape(reason)}", soft_wrap=True)
