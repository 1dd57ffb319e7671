"""The step that builds an engine is repeated on another kind of GPU."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from export.engine.choice import Choice
from export.engine.plan import EnginePlan
from export.pipeline import engine_step
from export.pipeline.steps import Step, StepResult
from export.runtime.engine_file import TENSORRT
from tests.support.engines import ORIN


def test_a_step_s_options_contain_the_kind_of_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options: list[Any] = []

    class Folder:
        path = tmp_path

        def perform(self, step: Step, work: object, kind: object) -> StepResult[Any]:
            options.append(step.options)
            return StepResult({}, None)

    for gpu in (ORIN, replace(ORIN, memory_bytes=7 << 30), replace(ORIN, multiprocessors=16)):
        choice = Choice(TENSORRT, "planted", "10.3.0", gpu)
        monkeypatch.setattr(engine_step, "choose_runtime", lambda runtime, choice=choice: choice)
        engine_step.built_engine(cast(Any, Folder()), "onnx/e.onnx", "a" * 64, EnginePlan(), "fp32")
    assert options[0] == options[1] != options[2]  # the kernel reserves some of a module's memory
