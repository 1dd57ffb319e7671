"""Profile of a row in ``result.json``: the work and the time of each part of the network."""

from collections.abc import Iterable, Sequence
from statistics import fmean, median

from bench.passes.layer_times import Profile
from bench.results.record import Record
from bench.sessions.parts import OTHER, PARTS, attribute, macs_of_parts
from export.model.architecture import Layer

NO_PROFILE = "--profile or --publish takes it"
"""Reason if no profile was requested."""
MOSTLY = 0.5
"""Smallest attributed share of a usable profile."""


class PartRecord(Record):
    """One part of the network."""

    part: str
    ms: float
    """Mean over the profiled runs."""
    time_share: float
    """Share of all layers' time."""
    macs: int
    """For one image, of the graph that ran."""
    macs_share: float


class LayerRecord(Record):
    """One layer of the runtime."""

    name: str
    origin: str
    part: str
    ms: float


class ProfileRecord(Record):
    """Time of one row by part and layer, from a process of its own."""

    source: str
    runs: int
    call_p50_ms: float
    """Wall clock around a profiled call."""
    call_mean_ms: float
    unprofiled_p50_ms: float
    slowdown: float
    """``call_p50_ms`` over ``unprofiled_p50_ms``: the cost of profiling, and changes of the machine since."""
    layers_ms: float
    """All layers together; the rest of ``call_mean_ms`` is between and around them."""
    attributed: float
    """Share of ``layers_ms`` that belongs to a part of the network."""
    remark: str | None
    parts: list[PartRecord]
    layers: list[LayerRecord]


def profile_record(profile: Profile, graph: Iterable[Layer], unprofiled_p50_ms: float) -> ProfileRecord:
    """Attribute every layer, and compare each part's time with its work.

    Args:
        profile: as the worker took it, with at least one layer.
        graph: the layers of the network that ran.
        unprofiled_p50_ms: the row's headline.
    """
    parts = attribute([(layer.name, layer.origin) for layer in profile.layers])
    times = dict.fromkeys(PARTS, 0.0)
    for layer, part in zip(profile.layers, parts, strict=True):
        times[part] += layer.ms
    total, macs = sum(times.values()), macs_of_parts(graph)
    attributed = 1 - times[OTHER] / total if total else 0.0
    call = median(profile.calls_ms)
    return ProfileRecord(
        source=profile.source,
        runs=len(profile.calls_ms),
        call_p50_ms=call,
        call_mean_ms=fmean(profile.calls_ms),
        unprofiled_p50_ms=unprofiled_p50_ms,
        slowdown=call / unprofiled_p50_ms,
        layers_ms=total,
        attributed=attributed,
        remark=_remark(profile, parts) if not attributed >= MOSTLY else None,
        parts=[_part(part, times[part], total, macs) for part in PARTS],
        layers=[
            LayerRecord(name=layer.name, origin=layer.origin, part=part, ms=layer.ms)
            for layer, part in zip(profile.layers, parts, strict=True)
        ],
    )


def _part(part: str, ms: float, total_ms: float, macs: dict[str, int]) -> PartRecord:
    return PartRecord(
        part=part,
        ms=ms,
        time_share=ms / total_ms if total_ms else 0.0,
        macs=macs[part],
        macs_share=macs[part] / sum(macs.values()),
    )


def _remark(profile: Profile, parts: Sequence[str]) -> str:
    unattributed = [layer for layer, part in zip(profile.layers, parts, strict=True) if part == OTHER]
    largest = max(unattributed, key=lambda layer: layer.ms, default=None)
    example = f", above all {largest.name}" if largest else ""
    return f"most of the time is in layers that could not be attributed to a part{example}"
