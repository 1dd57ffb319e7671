"""What a device calls of TensorRT: as the export does, and only what TensorRT has."""

import ast
from typing import Any

import pose_runtime
import pytest
from pose_runtime.builder import BuildPlan
from pose_runtime.builder import configure as configure_on_the_device
from pose_runtime.runtimes.engine import logger_of

from export import tensorrt_api
from export.engine_plan import EnginePlan
from export.engine_worker import configure as configure_here
from export.errors import CheckFailed
from tests.bundles import DEVICE
from tests.standin import library
from tests.tensorrt_members import read_list

SPEAKING_TENSORRT = (
    "pose_runtime/builder.py",
    "pose_runtime/runtimes/engine.py",
    "pose_runtime/runtimes/tensorrt_rtx.py",
)
ONLY_RTX = {"create_runtime_config", "set_compute_capability"}


class Recorder:
    """A builder of the real library whose configuration notes what is done to it."""

    def __init__(self, trt: Any) -> None:
        self.config, self.log = trt.Builder(logger_of(trt)[0]).create_builder_config(), []  # type: Any, list[str]

    def create_builder_config(self) -> Any:
        config, log = self.config, self.log

        class Noted:
            def __getattr__(self, name: str) -> Any:
                value = getattr(config, name)
                if not callable(value):
                    return value

                def call(*given: Any) -> Any:
                    log.append(f"{name}{given}")
                    return value(*given)

                return call

            def __setattr__(self, name: str, value: Any) -> None:
                log.append(f"{name} = {value}")
                setattr(config, name, value)

        return Noted()


@pytest.mark.parametrize(
    "asked",
    [
        {"targets": ("8.6", "12.0")},
        {"workspace_bytes": 1 << 24, "optimization_level": 5, "version_compatible": True},
        {"hardware_compatible": True},  # which TensorRT-RTX does not keep, and both notice
    ],
)
def test_both_builders_configure_the_same(asked: dict[str, Any]) -> None:
    """The device's builder may not import the export's, so that there are two; the real library is asked by both."""
    trt = pytest.importorskip("tensorrt_rtx")
    usual: dict[str, Any] = {"workspace_bytes": 1 << 30, "optimization_level": 3}
    here, there = Recorder(trt), Recorder(trt)
    logger_of(trt)
    plans = EnginePlan(**usual | asked), BuildPlan((1, 1, 8), **usual | asked)
    for configure, recorder, plan in zip((configure_here, configure_on_the_device), (here, there), plans, strict=True):
        try:
            configure(trt, recorder, plan)  # type: ignore[operator]
        except (CheckFailed, pose_runtime.CheckFailed) as refusal:
            recorder.log.append(refusal.what)
    assert here.log == there.log
    assert ("the builder did not take hardware compatibility" in here.log) == ("hardware_compatible" in asked)
    assert len(here.log) >= 5
    assert here.config.flags == there.config.flags
    assert "clear_flag(<BuilderFlag.TF32" in "".join(here.log)


def test_the_stand_in_has_only_members_that_exist() -> None:
    for version, classes in read_list().items():
        for name in classes.keys() & vars(library).keys():
            stand_in = getattr(library, name)
            if not isinstance(stand_in, type) or stand_in is library.Enumerator:
                continue
            only_rtx = set() if version.startswith("RTX") else ONLY_RTX
            methods = {m for m, value in vars(stand_in).items() if callable(value) and not m.startswith("_")}
            assert methods - only_rtx <= classes[name].keys(), (version, name)


def called(tree: ast.AST) -> set[str]:
    """The names behind a dot."""
    return {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and not node.attr.startswith("_")}


def test_the_device_calls_only_what_is_declared_of_tensorrt() -> None:
    """Every name behind a dot is declared in ``export.tensorrt_api``, which a test holds to the real bindings, or is
    one of the bundle's own or of Python's, and stands in this list."""
    classes = [value for value in vars(tensorrt_api).values() if isinstance(value, type)]
    declared = {member for cls in classes for member in (*vars(cls), *getattr(cls, "__annotations__", {}))}
    own = {
        *(
            "what",
            "seen",
            "do",
            "name",
            "desc",
            "get",
            "items",
            "update",
            "append",
            "join",
            "split",
            "replace",
            "lower",
        ),
        *("lru_cache", "import_module", "loads", "monotonic", "sha256", "hexdigest", "system", "machine", "value"),
        *(
            "product",
            "module",
            "record",
            "content",
            "place",
            "file",
            "precision",
            "runtime",
            "artifact",
            "artifact_sha256",
        ),
        *("images", "joints", "put", "take", "close", "stream_handle", "largest_batch", "shape", "compute_capability"),
        *("batches", "workspace_bytes", "optimization_level", "hardware_compatible", "version_compatible", "targets"),
        *("float32", "ndarray"),
    }
    for path in SPEAKING_TENSORRT:
        strange = called(ast.parse((DEVICE / path).read_text())) - declared - own
        assert not strange, (path, strange)
    assert "platform_has_fast_fp16" in called(ast.parse("builder.platform_has_fast_fp16")) - declared - own
