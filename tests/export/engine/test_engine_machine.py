"""For which GPU, and which version of the library, an engine is."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from bench.sessions.engine_file import require_gpu, require_version
from export.common.errors import BadInput, NotPossible
from export.common.gpu import Gpu
from export.engine.build import read_engine_record
from export.engine.choice import Choice
from export.engine.plan import TENSORRT, TENSORRT_RTX, EnginePlan
from export.pipeline import model_steps
from export.pipeline.steps import Made, Step
from tests.export.engine.files import write_engine
from tests.export.engine.gpu import ADA, ORIN
from tests.export.engine.records import RECORD


def test_the_engine_of_another_version_or_gpu() -> None:
    path, tuned = Path("e"), replace(RECORD, runtime="tensorrt", targets=(), gpu=ORIN)
    require_version(path, RECORD, TENSORRT_RTX, "1.7.1.116")
    require_version(path, RECORD, TENSORRT_RTX, "1.7.1.post1")
    require_gpu(path, RECORD, ADA)
    require_gpu(path, tuned, ORIN)
    require_gpu(path, tuned, replace(ORIN, memory_bytes=7 << 30))  # the kernel keeps more for itself
    with pytest.raises(NotPossible, match=r"built by TensorRT-RTX 1\.7\.1\.116, and 1\.6\.0\.1 is installed"):
        require_version(path, RECORD, TENSORRT_RTX, "1.6.0.1")
    with pytest.raises(NotPossible, match=r"built for compute capability 8\.9, and this GPU is NVIDIA H100 \(9\.0\)"):
        require_gpu(path, RECORD, Gpu("NVIDIA H100", "9.0", 1, 16))
    with pytest.raises(NotPossible, match=r"built by TensorRT-RTX 1\.6\.0\.1, and 1\.7\.1\.116 is installed"):
        require_version(path, replace(RECORD, plan_version="1.6.0.1"), TENSORRT_RTX, "1.7.1.116")
    with pytest.raises(NotPossible, match=r"tuned on Orin \(8.7, 8 multiprocessors, 7.4 GiB\), and this is NVIDIA"):
        require_gpu(path, tuned, ADA)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"multiprocessors": 16}, r"and this is Orin \(8.7, 16 multiprocessors, 7.4 GiB\)"),
        ({"compute_capability": "8.6"}, r"and this is Orin \(8.6, 8 multiprocessors, 7.4 GiB\)"),
        ({"memory_bytes": 15 << 30}, r"and this is Orin \(8.7, 8 multiprocessors, 15.0 GiB\)"),
    ],
)
def test_a_module_of_another_size_with_the_same_name_is_another_gpu(other: dict[str, Any], said: str) -> None:
    """The driver may call every Jetson of a generation the same, whatever its size."""
    tuned, here = replace(RECORD, runtime="tensorrt", targets=(), gpu=ORIN), replace(ORIN, **other)
    with pytest.raises(NotPossible, match=said):
        require_gpu(Path("e"), tuned, here)
    assert here.kind != ORIN.kind  # neither is it found as if it had been built, nor shares what was timed


def test_an_engine_is_not_taken_for_built_on_a_module_of_another_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a step's options say is what tells whether it is finished."""
    asked: list[Any] = []

    class Folder:
        path = tmp_path

        def perform(self, step: Step, work: object) -> Made:
            asked.append(step.options)
            return Made({}, {})

    for here in (ORIN, replace(ORIN, memory_bytes=7 << 30), replace(ORIN, multiprocessors=16)):
        choice = Choice(TENSORRT, "planted", "10.3.0", here)
        monkeypatch.setattr(model_steps, "choose_runtime", lambda wanted, found=choice: found)
        model_steps.built_engine(cast(Any, Folder()), "onnx/e.onnx", "a" * 64, EnginePlan(), "fp32")
    assert asked[0] == asked[1] != asked[2]


def test_the_kind_of_a_gpu_does_not_follow_what_the_kernel_sets_aside() -> None:
    assert replace(ORIN, memory_bytes=7 << 30).kind == ORIN.kind == "Orin, 8.7, 8 multiprocessors, at most 8 GiB"


def test_a_record_says_on_which_gpu_the_engine_was_tuned(tmp_path: Path) -> None:
    write_engine(tmp_path / "e", TENSORRT, gpu=ORIN)
    assert read_engine_record(tmp_path / "e.json").gpu == ORIN
    plain = json.loads((tmp_path / "e.json").read_text())
    (tmp_path / "e.json").write_text(json.dumps(plain | {"schema_version": 4, "gpu": "Orin"}))
    with pytest.raises(BadInput, match=r"schema_version 4 — build the engine again"):
        read_engine_record(tmp_path / "e.json")


def test_what_compatible_engines_ask_of_a_machine() -> None:
    path, version = Path("e"), "10.13.3.9"
    tuned = replace(RECORD, runtime="tensorrt", targets=(), gpu=ORIN, package_version=version, plan_version=version)
    wide = replace(tuned, hardware_compatible=True, version_compatible=True)
    require_version(path, wide, TENSORRT, "10.13.3.9")
    require_version(path, wide, TENSORRT, "11.0.0.114")
    for earlier in ("10.9.0.34", "9.3.0"):
        with pytest.raises(NotPossible, match="needs another"):
            require_version(path, wide, TENSORRT, earlier)
    require_gpu(path, wide, ADA)
    require_gpu(path, wide, Gpu("NVIDIA GeForce RTX 5090", "12.0", 1, 16))
    with pytest.raises(NotPossible, match=r"tuned on Orin \(.*, and this is Tesla T4"):
        require_gpu(path, wide, Gpu("Tesla T4", "7.5", 1, 16))
