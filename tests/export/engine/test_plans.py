"""Settings of an engine's plan that are refused before a build."""

from pathlib import Path
from typing import Any

import pytest

from export.common.errors import BadInput
from export.engine import build as engine
from export.engine import choice as choosing
from export.engine.build import build_engine
from export.engine.choice import Choice, complete_plan
from export.engine.plan import EnginePlan
from export.runtime.engine_file import TENSORRT
from export.runtime.gpu import Gpu, Jetson


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"batch_min": 0}, "(0, 1, 8)"),
        ({"batch_max": float("nan")}, "nan"),
        ({"targets": ("8.9", "9.0")}, "9.0 — choose from 7.5, 8.0, 8.6, 8.9, 12.0, 12.1"),
        ({"targets": ("8.9", "8.9")}, "each once"),
    ],
)
def test_impossible_plans(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput) as caught:
        EnginePlan(**fields)
    assert message in str(caught.value)


def test_hardware_compatible_engines_are_refused_on_a_jetson(monkeypatch: pytest.MonkeyPatch) -> None:
    choice = Choice(TENSORRT, "planted", "10.3.0", Gpu("Orin", "8.7", 1, 16))
    monkeypatch.setattr(choosing, "jetson", lambda: Jetson("NVIDIA Jetson AGX Orin", "36.4.0"))
    assert complete_plan(EnginePlan(version_compatible=True), choice).version_compatible
    with pytest.raises(BadInput, match="on JetPack — NVIDIA Jetson AGX Orin"):
        complete_plan(EnginePlan(hardware_compatible=True), choice)
    monkeypatch.setattr(choosing, "jetson", lambda: None)
    assert complete_plan(EnginePlan(hardware_compatible=True), choice).hardware_compatible


def test_tensorrt_takes_no_targets(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    choice = Choice(TENSORRT, "planted", "10.3.0", Gpu("Stub GPU", "8.6", 1, 16))
    monkeypatch.setattr(engine, "choose_runtime", lambda runtime: choice)
    with pytest.raises(BadInput, match="for this machine's GPU only"):
        build_engine(tiny, tmp_path / "e", EnginePlan(targets=("8.9",)))
