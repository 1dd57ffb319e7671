"""The five questions, of several devices. No device is ranked: of each its own rows are spoken of."""

from collections.abc import Callable, Sequence

from bench import cells
from bench.report.devices.tables import speed_up_text
from bench.report.devices.told import Devices, Told
from bench.report.devices.untested import Gap
from bench.report.recommend import WEIGHTS, Recommendation
from bench.report.subject import Row
from bench.report.views import Answer, Tone

MOST = 6
"""So many devices and models are named in an answer; the table has all."""
FIRST = 4
"""So many things that were not tested are."""

Found = tuple[Told, Recommendation]


def answers(of: Devices, open_points: Sequence[Gap]) -> tuple[Answer, ...]:
    """What to ship, how fast, how wrong, how sure, what was not tested."""
    found = [(one, one.recommended) for one in of.told]
    shipped = [(one, row) for one, choice in found if (row := choice.row) is not None]
    caveats = list(dict.fromkeys(said for one, _ in found if (said := WEIGHTS.get(one.weights)) and not one.missing))
    tone: Tone = "good" if len(shipped) == len(found) and not caveats else "warn" if shipped else "bad"
    every: Tone = "good" if shipped and len(shipped) == len(found) else "warn"
    return (
        Answer("What do I ship?", _ship(of, found), (*_of_each(found), *caveats), tone),
        Answer("How fast is it?", _speed(shipped), _of_rows(shipped, _fast), every),
        Answer("How wrong is it?", _wrong(shipped), _of_rows(shipped, _drift), every),
        Answer("How sure is that?", _sure(shipped), _sureness(of, shipped), _sure_tone(found)),
        _open(open_points),
    )


def _ship(of: Devices, found: Sequence[Found]) -> str:
    measured = [choice for one, choice in found if one.missing is None]
    names = {choice.row.name if choice.row else None for choice in measured}
    if names <= {None}:
        return "Nothing can be recommended"
    if len(names) > 1:
        return "It depends on device and model" if len(of.models) > 1 else "It depends on the device"
    where = " on each that was measured" if len(measured) < len(found) else " on each" if len(of.names) > 1 else ""
    return f"{names.pop()}{where}"


def _row_said(one: Told, choice: Recommendation) -> str:
    if one.missing is not None:
        return f"not known, {one.missing}"
    return choice.row.name if choice.row else f"nothing. {choice.reason}"


def _fast(row: Row) -> str:
    assert row.headline is not None
    gain = f"{speed_up_text(row)} its reference's speed, " if row.speed_up else ""
    return f"{gain}p50 {row.headline.p50_ms:.2f} ms there"


def _speed(shipped: Sequence[tuple[Told, Row]]) -> str:
    ups = [row.speed_up.median for _, row in shipped if row.speed_up]
    if not ups:
        return "No speed-up is known" if shipped else "Not known"
    low, high = f"{min(ups):.2f}", f"{max(ups):.2f}"
    each = low if low == high else f"{low} to {high}"
    whose = "each device's" if len({one.device.name for one, _ in shipped}) > 1 else "its"
    return f"{each} times {whose} own reference"


def _drift(row: Row) -> str:
    if row.drift is None or row.drift.mean_mm is None:
        return "not judged"
    return f"parity {row.drift.status}, mean {cells.millimetres(row.drift.mean_mm)} mm"


def _wrong(shipped: Sequence[tuple[Told, Row]]) -> str:
    known = [row.drift.mean_mm for _, row in shipped if row.drift and row.drift.mean_mm is not None]
    return f"At most {cells.millimetres(max(known))} mm from the truth on average" if known else "Not known"


def _sure(shipped: Sequence[tuple[Told, Row]]) -> str:
    counts = {name: sum(row.verdict == name for _, row in shipped) for name in ("stable", "noisy")}
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "Not at all"


def _sureness(of: Devices, shipped: Sequence[tuple[Told, Row]]) -> tuple[str, ...]:
    reasons = list(dict.fromkeys(f"{row.verdict}: {row.reasons[0]}" for _, row in shipped if row.reasons))[:2]
    between = "between devices there is no interval, and none is called faster than another: their ms do not compare"
    return (f"speed-ups are over {of.reference}", *reasons, *((between,) if len(of.names) > 1 else ()))


def _sure_tone(found: Sequence[Found]) -> Tone:
    return (
        "good"
        if all(choice.row and choice.row.verdict == "stable" and one.complete for one, choice in found)
        else "warn"
    )


def _open(points: Sequence[Gap]) -> Answer:
    named = [f"{gap.where}: {gap.what}: {gap.reason}" for gap in points[:FIRST]]
    rest = [f"and {len(points) - FIRST} more, below"] if len(points) > FIRST else []
    text = f"{len(points)} thing{'s' * (len(points) > 1)}" if points else "Everything was"
    return Answer("What was not tested?", text, (*named, *rest), "warn" if points else "good")


def _of_each(found: Sequence[Found]) -> tuple[str, ...]:
    return _cut([f"{one.device.name}, {one.model}: {_row_said(one, choice)}" for one, choice in found])


def _of_rows(shipped: Sequence[tuple[Told, Row]], said: Callable[[Row], str]) -> tuple[str, ...]:
    return _cut([f"{one.device.name}, {one.model}: {said(row)}" for one, row in shipped])


def _cut(lines: Sequence[str]) -> tuple[str, ...]:
    rest = [f"and {len(lines) - MOST} more, below"] if len(lines) > MOST else []
    return (*lines[:MOST], *rest)
