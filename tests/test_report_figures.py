"""Every figure's specification, to the letter: what is drawn is decided here, not by looking at pixels.

After a change that is wanted, write them anew and read the difference: ``python -m tests.test_report_figures``.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import pytest

from bench.report import curves, drawing, theme
from bench.report.devices.told import Device, Told
from bench.report.figures import devices, forest, models, pareto, parts, skeleton, tail, throughput, trace
from bench.report.sections.decision import first_look
from bench.report.subject import (
    HEADLINE,
    Accuracy,
    Drift,
    Misses,
    ParityResult,
    Part,
    Profile,
    Row,
    SpeedUp,
    StateCurve,
    Subject,
    Tail,
    ThroughputPoint,
    Timing,
    Verdict,
)
from bench.report.views import Figure
from export.joint_sets import MUCO

GOLDEN = Path(__file__).parent / "golden/report"


def row(runtime: str, precision: str, p50_ms: float, verdict: Verdict = "stable", **more: Any) -> Row:
    up, reference = 20 / p50_ms, runtime == "pytorch"
    timing = Timing(
        *(HEADLINE, 700, 3, p50_ms, 0.9 * p50_ms, 1.1 * p50_ms),
        tails=(Tail(0.9, 1.2 * p50_ms, 1.3 * p50_ms, 64),),
        misses=(Misses(16.7, 3, 0.01, 0.02),),
    )
    profile = Profile("exported", (Part("stem", 1, 0.2, 0.1, 5, 0.1), Part("decode", 4, 0.8, 0.9, None, None)), "")
    return Row(
        id=f"{runtime}/{precision}",
        runtime=runtime,
        precision=precision,
        computes=None,
        is_reference=reference,
        verdict=verdict,
        reasons=(),
        timings={HEADLINE: timing},
        drift=Drift("pass", "pass", "", 0.01 * p50_ms, 1.0, 8),
        speed_up=None if reference else SpeedUp(up, 0.98 * up, 1.02 * up),
        peak_mib=100 + p50_ms,
        throughput=(
            ThroughputPoint(1, 1, 100, 10, 50),
            ThroughputPoint(2, 1, 150, 13, 40),
            ThroughputPoint(2, 2, 160, 25, 40),
        ),
        profile=profile,
        rounds_ms=((0, p50_ms), (1, 1.1 * p50_ms), (2, 0.9 * p50_ms)),
        slower=((0.9 * p50_ms, 0.9), (p50_ms, 0.5), (1.5 * p50_ms, 0.01)),
        **more,
    )


SLOW, FAST, SMALL = row("pytorch", "fp32", 20.0), row("onnxruntime", "fp32", 8.0), row("openvino", "int8", 4.0)
ROWS = (SMALL, SLOW, FAST)
PARITY = ParityResult(
    "fp16", "x", "pass", "pass", "", "", "64 drawn figures", 0.1, 0.2, 3.0, "L_Hand", (*(0.1,) * 18, 3.0, None, 0.2)
)


def subject(model: str, macs: int) -> Subject:
    nothing: dict[str, Any] = dict.fromkeys(("joint_names", "bones", "verdict", "files", "not_made", "parity"), ())
    weights: dict[str, Any] = {"weights": "demo", "weights_path": None, "weights_sha256": ""}
    return Subject(folder="", model=model, parameters=1, macs=macs, tools={}, **weights, **nothing)


TOLD = (
    Told(Device("orin", "", ()), "S", "", rows=tuple(ROWS), control=SpeedUp(1.001, 0.99, 1.01), reference=ROWS[0].name),
    Told(Device("box", "", ()), "S", "", rows=(FAST,)),
    Told(Device("lost", "", ()), "S", "", missing="lost: no device could do it"),
)


def figures() -> dict[str, Figure | None]:
    pairs = [(subject("S", 2 * 10**9), FAST), (subject("L", 4 * 10**9), SLOW)]
    return {
        "pareto": pareto.pareto(ROWS, SMALL),
        "forest": forest.forest(ROWS, SpeedUp(1.001, 0.99, 1.01)),
        "tail": tail.tail(ROWS),
        "trace": trace.trace(ROWS),
        "state": trace.machine_state(StateCurve("load", "tasks", ((0, 1.0), (1, 2.5), (2, 2.0)))),
        "throughput": throughput.throughput(ROWS),
        "batch-latency": throughput.batch_latency(ROWS),
        "parts": parts.parts(ROWS),
        "peak": parts.peak(ROWS, [("fp32", 50.0, "torch")]),
        "skeleton": skeleton.skeleton(PARITY, MUCO.joints, MUCO.bones),
        "models": models.models(pairs),
        "devices": devices.devices(TOLD, "devices", "S"),
    }


def text_of(figure: Figure | None) -> str:
    assert figure is not None
    return json.dumps({"alt": figure.alt, "spec": figure.spec}, indent=1, ensure_ascii=False) + "\n"


@pytest.mark.parametrize("name", figures())
def test_a_specification_is_what_it_was(name: str) -> None:
    assert text_of(figures()[name]) == (GOLDEN / f"{name}.json").read_text(encoding="utf-8")


def test_specifications_are_of_the_version_that_draws_them() -> None:
    assert alt.SCHEMA_VERSION.removeprefix("v").rpartition(".")[0] == drawing.VEGA_LITE


@pytest.mark.parametrize("name", figures())
def test_every_colour_of_a_picture_has_its_dark_one(name: str) -> None:
    figure = figures()[name]
    assert figure is not None
    markup = drawing.svg(figure.spec)
    used = {word.split('"')[0].lower() for word in markup.replace('stroke="', 'fill="').split('fill="')[1:]}
    assert {colour for colour in used if colour.startswith("#")} <= set(theme.DARK) | {"#4c78a8"}  # unseen handles


def test_without_anything_to_draw_there_is_no_figure() -> None:
    unstable = replace(SMALL, verdict="unstable", speed_up=None, slower=(), rounds_ms=(), throughput=(), profile=None)
    assert pareto.pareto([SLOW, unstable], None) is None
    assert forest.forest([unstable], None) is None
    for of in (tail.tail, trace.trace, throughput.throughput, throughput.batch_latency, parts.parts):
        assert of([unstable]) is None
    assert parts.peak(ROWS, ()) is None
    assert models.models([(subject("S", 1), FAST)]) is None
    assert first_look([], None).lines == ()


def test_rows_that_are_not_ranked_are_in_no_figure_that_ranks() -> None:
    failed = replace(FAST, runtime="onnxruntime-cuda", drift=Drift("fail", "fail", "", 9.0, 9.0, 8))
    made = pareto.pareto([*ROWS, failed], None)
    assert made is not None
    assert "onnxruntime-cuda" not in json.dumps(made.spec)


def test_pareto_shows_mpjpe_where_every_row_was_evaluated() -> None:
    evaluated = [replace(of, accuracy=(Accuracy("Human3.6M", 9, "", 50.0, None),)) for of in ROWS]
    made = pareto.pareto(evaluated, None)
    assert made is not None
    assert "MPJPE on Human3.6M, mm" in json.dumps(made.spec)


def test_the_tail_keeps_the_slowest_calls_and_lies_on_the_curve_of_all_samples() -> None:
    samples = np.random.default_rng(0).lognormal(2, 0.4, 20_000)
    points = curves.slower_than(samples)
    assert len(points) <= curves.TAIL_POINTS
    assert [ms for ms, _ in points[-5:]] == sorted(samples)[-5:]
    for ms, share in points[:-1]:
        assert share == pytest.approx((samples > ms).mean())
    assert points[-1][1] == 0.5 / len(samples)
    assert curves.slower_than([]) == []
    assert curves.slower_than([3.0]) == [(3.0, 0.5)]


def test_rounds_are_thinned_and_not_averaged() -> None:
    points = [(index, float(index)) for index in range(1000)]
    thinned = curves.every(points)
    assert len(thinned) <= curves.ROUND_POINTS
    assert set(thinned) <= set(points)
    assert curves.round_medians([1.0, 3.0, 5.0], np.array([0, 0, 1])) == [(0, 2.0), (1, 5.0)]


if __name__ == "__main__":
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for name, figure in figures().items():
        (GOLDEN / f"{name}.json").write_text(text_of(figure), encoding="utf-8")
