"""Where the time goes: each part of the network beside what it has to compute, and how near it is to the peak."""

from collections.abc import Sequence

import altair as alt

from bench.report import theme
from bench.report.figures import base
from bench.report.subject import Row
from bench.report.views import Figure


def parts(rows: Sequence[Row]) -> Figure | None:
    """Shares of time as marks over shares of MACs as bars; None if no row was profiled."""
    shown = _profiled(rows)
    if not shown:
        return None
    macs = _macs(shown)
    values = [
        {**base.about(row), "part": of.name, "share": base.short(of.time_share), "ms": base.short(of.ms)}
        for row in shown
        if row.profile
        for of in row.profile.parts
    ]
    alt_text = _words(shown)
    names = list(dict.fromkeys(str(value["part"]) for value in values))
    y = alt.Y("part:N", sort=names, title=None, scale=alt.Scale(domain=names))
    x = alt.X("share:Q", title="share of time (marks), of MACs (bars)", axis=alt.Axis(format="%", tickCount=8))
    bars = alt.Chart(base.data(macs)).mark_bar(color=theme.BAND, opacity=0.7, height={"band": 0.62})
    tips = base.tooltip(row="row:N", part="part:N", share="share:Q", ms="ms:Q")
    marks = alt.Chart(base.data(values)).mark_point(filled=True, size=80, opacity=0.9)
    layers = alt.layer(
        bars.encode(x=x, y=y, tooltip=base.tooltip(part="part:N", share_of_MACs="share:Q")),
        marks.encode(x=x, y=y, color=base.colour(shown), shape=base.shape(shown), tooltip=tips),
    )
    return Figure("parts", "Time and MACs of each part", alt_text, base.finish(layers, 360, alt_text))


def peak(rows: Sequence[Row], peaks: Sequence[tuple[str, float, str]]) -> Figure | None:
    """What each part achieves of the machine's measured peak; None without a peak."""
    values = [
        {**base.about(row), "part": of.name, "share": base.short(of.peak_share), "gflops": base.short(of.gflops or 0.0)}
        for row in _profiled(rows)
        if row.profile
        for of in row.profile.parts
        if of.peak_share is not None
    ]
    if not values or not peaks:
        return None
    shown = [row for row in _profiled(rows) if any(value["row"] == row.name for value in values)]
    names = list(dict.fromkeys(str(value["part"]) for value in values))
    best, worst = (how(values, key=lambda value: float(str(value["share"]))) for how in (max, min))
    measured = ", ".join(f"{precision} {gflops:.0f} GFLOP/s" for precision, gflops, _ in peaks)
    alt_text = (
        f"Nearest to the peak: {best['part']} in {best['row']} with {best['share']:.0%}; farthest: {worst['part']} "
        f"in {worst['row']} with {worst['share']:.0%}. Measured peak: {measured}."
    )
    y = alt.Y("part:N", sort=names, title=None, scale=alt.Scale(domain=names))
    x = alt.X(
        "share:Q",
        title="share of the measured peak",
        axis=alt.Axis(format="%", tickCount=8),
    )
    tips = base.tooltip(row="row:N", part="part:N", share_of_the_peak="share:Q", GFLOP_a_second="gflops:Q")
    marks = alt.Chart(base.data(values)).mark_point(filled=True, size=80, opacity=0.9)
    line = alt.Chart(base.data([{"share": 1}])).mark_rule(color=theme.QUIET, strokeDash=[3, 3]).encode(x=x)
    drawn = marks.encode(x=x, y=y, color=base.colour(shown), shape=base.shape(shown), tooltip=tips)
    return Figure(
        "peak", "How near to the machine's peak", alt_text, base.finish(alt.layer(line, drawn), 330, alt_text)
    )


def _profiled(rows: Sequence[Row]) -> list[Row]:
    return [row for row in theme.ordered(rows) if row.profile is not None]


def _macs(rows: Sequence[Row]) -> list[dict[str, object]]:
    """Of the exported graph, and of the released one where no row ran the other."""
    profiles = [row.profile for row in rows if row.profile]
    of = next((profile for profile in profiles if profile.graph == "exported"), profiles[0])
    return [{"part": part.name, "share": base.short(part.macs_share)} for part in of.parts]


def _words(rows: Sequence[Row]) -> str:
    """Which part takes most of the time, said once for all rows in which it is the same."""
    by_part: dict[str, list[tuple[Row, float]]] = {}
    for row in rows:
        if row.profile:
            most = max(row.profile.parts, key=lambda of: of.time_share)
            by_part.setdefault(most.name, []).append((row, most.time_share))
    macs = {str(of["part"]): float(str(of["share"])) for of in _macs(rows)}
    said = []
    for part, seen in by_part.items():
        low, high = min(share for _, share in seen), max(share for _, share in seen)
        where = "all rows" if len(seen) == len(rows) else ", ".join(row.name for row, _ in seen)
        said.append(
            f"{part} takes most of the time in {where}: {low:.0%} to {high:.0%}, for {macs[part]:.0%} of the MACs"
        )
    text = "; ".join(said)
    return f"{text[:1].upper()}{text[1:]}."
