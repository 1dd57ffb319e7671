"""Each part's share of the time beside its share of the multiply-accumulates."""

from collections.abc import Sequence

import altair as alt

from bench.report import theme
from bench.report.charts import base
from bench.report.rows import in_order, name_of
from bench.report.views import Chart
from bench.results.profile_record import ProfileRecord
from bench.results.result import Row
from bench.sessions.exported import TORCH_FORMS


def parts(rows: Sequence[Row]) -> Chart | None:
    """Return shares of time as marks over shares of MACs as bars; None if no row was profiled."""
    profiles = [(row, row.profile) for row in in_order(rows) if row.profile]
    if not profiles:
        return None
    macs = _macs(profiles)
    values = [
        {**base.about(row), "part": part.part, "share": base.short(part.time_share), "ms": base.short(part.ms)}
        for row, profile in profiles
        for part in profile.parts
    ]
    slowest = _slowest(profiles)
    alt_text = "; ".join(
        f"{part}, {macs[part]:.0%} of the MACs, takes most of the time in {', '.join(names)}"
        for part, names in slowest.items()
    ).capitalize()
    part = max(slowest, key=lambda part: len(slowest[part]))
    message = f"{part.capitalize()} takes most of the time, with {macs[part]:.0%} of the MACs"
    return Chart("parts", message, alt_text, _spec([row for row, _ in profiles], values, macs, alt_text))


def _macs(profiles: Sequence[tuple[Row, ProfileRecord]]) -> dict[str, float]:
    """Return each part's share of MACs, of the exported graph where some row ran it."""
    exported = [profile for row, profile in profiles if row.runtime not in TORCH_FORMS]
    return {part.part: base.short(part.macs_share) for part in (exported or [profiles[0][1]])[0].parts}


def _spec(rows: Sequence[Row], values: base.Values, macs: dict[str, float], alt_text: str) -> dict[str, object]:
    names = list(dict.fromkeys(value["part"] for value in values))
    y = alt.Y("part:N", sort=names, title=None, scale=alt.Scale(domain=names))
    x = alt.X("share:Q", title="share of time (marks), of MACs (bars)", axis=alt.Axis(format="%", tickCount=8))
    bars = alt.Chart(base.data([{"part": part, "share": share} for part, share in macs.items()]))
    marks = alt.Chart(base.data(values)).mark_point(filled=True, size=80, opacity=0.9)
    layers = alt.layer(
        bars.mark_bar(color=theme.BAND, opacity=0.7, height={"band": 0.62}).encode(
            x=x, y=y, tooltip=base.tooltip(part="part:N", share_of_MACs="share:Q")
        ),
        marks.encode(
            x=x,
            y=y,
            color=base.colour(rows),
            shape=base.shape(rows),
            tooltip=base.tooltip(row="row:N", part="part:N", share="share:Q", ms="ms:Q"),
        ),
    )
    return base.finish(layers, 230, alt_text)


def _slowest(profiles: Sequence[tuple[Row, ProfileRecord]]) -> dict[str, list[str]]:
    """Return each part that takes most of the time of some rows, with those rows."""
    slowest: dict[str, list[str]] = {}
    for row, profile in profiles:
        most = max(profile.parts, key=lambda part: part.time_share)
        slowest.setdefault(most.part, []).append(f"{name_of(row)} ({most.time_share:.0%})")
    return slowest
