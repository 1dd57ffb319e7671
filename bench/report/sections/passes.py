"""What was measured beside the rounds and is a table: the way from a photo to joints, and what launches differ by."""

from bench import cells
from bench.report import commands, theme
from bench.report.subject import PhotoToJoints, Row, Subject
from bench.report.views import Cell, Line, Missing, Section, Table

COLUMNS = ("row", "whole way, ms", "crop, ms", "normalise, ms", "network, ms", "joints in the photo, ms", "samples")
TITLE = "From a photo to joints"


def photo(subject: Subject) -> Section:
    """One person, the way that an application goes."""
    found = [(row, row.photo) for row in theme.ordered(subject.rows) if row.photo is not None]
    if not found:
        reasons = [row.photo_reason for row in subject.rows if row.photo_reason]
        why = reasons[0] if reasons else "nothing was benchmarked"
        return Section("photo", TITLE, missing=(Missing(TITLE.lower(), why, commands.bench(subject)),))
    sizes = sorted({f"{of.width}×{of.height}" for _, of in found})
    lead = (
        f"One person in a photo of {', '.join(sizes)} in memory, the box given: crop, normalisation, network, and back "
        "to the photo's pixels, by the functions that `predict` uses. Reading and decoding a file is not in it."
    )
    lines = tuple(Line(_way(row, of), "" if row.ranked else "greyed") for row, of in found)
    caption = "Medians, in a pass of its own after the rounds."
    return Section("photo", TITLE, (lead,), tables=(Table(caption, COLUMNS, lines),))


def launches(subject: Subject) -> Table | None:
    """What each start of all processes said alone; None where there was one launch."""
    found = [row for row in theme.ordered(subject.rows) if row.launches]
    if not found:
        return None
    caption = (
        "All processes were started afresh so often. The intervals above are of all rounds and do not know of "
        "launches: what another start may bring is this range."
    )
    return Table(caption, ("row", "p50 of each launch, ms", "speed-up of each launch"), tuple(map(_launches, found)))


def _way(row: Row, of: PhotoToJoints) -> tuple[Cell, ...]:
    normalise = Cell(f"{of.normalise_ms:.2f}") if of.normalise_ms is not None else Cell(cells.NOTHING, "in the graph")
    times = (f"{of.total_ms:.2f}", f"{of.crop_ms:.2f}", f"{of.network_ms:.2f}", f"{of.decode_ms:.2f}")
    total, crop, network, decode = map(Cell, times)
    return Cell(row.name), total, crop, normalise, network, decode, Cell(str(of.samples))


def _launches(row: Row) -> Line:
    ratios = [of.speed_up for of in row.launches if of.speed_up is not None]
    each = (cells.each([of.p50_ms for of in row.launches], 2), cells.each(ratios, 3))
    return Line((Cell(row.name), *map(Cell, each)), "" if row.ranked else "greyed")
