"""The child process that builds one engine; ``export.engine.build`` starts it and reads its JSON lines.

Only what ``export.runtime.tensorrt_api`` declares is called: what TensorRT 10.3 to 11.4 and TensorRT-RTX 1.7 share, and
the compute capabilities of RTX.
"""

import contextlib
import hashlib
import importlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from export.common.errors import CheckFailed, Failure, NotPossible
from export.common.interface import INPUT
from export.engine.layers import inspect_engine, require_kept
from export.engine.onnx_checks import check_types, planned_fp32, profile_shapes
from export.engine.plan import BACKENDS, Backend, EnginePlan
from export.engine.timing_cache import keep_timing_cache, timing_cache_path, use_timing_cache
from export.runtime.engine_builder import Build
from export.runtime.engine_network import (
    Convolutions,
    check_interface,
    check_layers,
    count_convolutions,
    count_types,
    layers_of,
)
from export.runtime.tensorrt import deserialize
from export.runtime.tensorrt_api import ILogger, IProgressMonitor, TensorRT
from export.runtime.tensorrt_log import make_logger

Send = Callable[[dict[str, Any]], None]


class Phases:
    """The builder's nested phases as one share of the whole (0 to 1) that never falls."""

    def __init__(self) -> None:
        self.share = 0.0
        self._open: dict[str, tuple[float, float, int]] = {}  # begin, width of a step, steps done

    def start(self, phase: str, parent: str | None, steps: int) -> None:
        """A phase fills the step that its parent is in; one without a known parent fills the whole."""
        begin, width, done = self._open.get(parent or "", (0.0, 1.0, 0))
        self._open[phase] = (begin + width * done, width / max(steps, 1), 0)

    def step(self, phase: str, step: int) -> None:
        """Step number ``step``, from 0, is done."""
        begin, width, _ = self._open[phase]
        self._open[phase] = (begin, width, step + 1)
        self.share = max(self.share, min(begin + width * (step + 1), 1.0))


def make_monitor(trt: TensorRT, send: Send) -> IProgressMonitor:
    """Reports each further hundredth. An exception, or anything but True, would cancel the build."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.phases, self.lock, self.sent = Phases(), threading.Lock(), 0.0

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            with contextlib.suppress(Exception), self.lock:
                self.phases.start(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            with contextlib.suppress(Exception), self.lock:
                self.phases.step(phase_name, step)
                if self.phases.share >= self.sent + 0.01:
                    self.sent = self.phases.share
                    send({"progress": phase_name, "share": self.sent})
            return True

        def phase_finish(self, phase_name: str) -> None:
            """Nothing to add: its last step has been reported."""

    return Monitor()


def build(
    trt: TensorRT,
    backend: Backend,
    onnx: Path,
    engine: Path,
    plan: EnginePlan,
    send: Send,
    *,
    cache: Path | None = None,
    loads: bool = False,
) -> dict[str, Any]:
    """Write the plan to ``engine``; returns the facts for its record.

    A timing ``cache`` is used and kept. What was built is inspected where a GPU ``loads`` it.

    Raises:
        BadInput: the model is not one that can be built under this plan.
        CheckFailed: the model does not keep its precision, the builder refused, or it logged an error although it
            returned a plan; or the engine does not compute as the network says.
    """
    errors: list[str] = []
    logger = make_logger(trt, errors, lambda line: send({"log": line}))
    model = onnx.read_bytes()
    job = Build(trt, backend.library, logger, errors, model, str(onnx), plan.settings)
    shape = check_interface(job.network, str(onnx))
    precision = check_types(model, onnx, plan)
    layers = layers_of(job.network)
    layer_types, convolutions = count_types(layers), count_convolutions(layers)
    check_layers(layer_types, convolutions, str(onnx), precision, planned_fp32(model))
    shapes = profile_shapes(shape, plan)
    job.config.progress_monitor = make_monitor(trt, send)
    if cache is not None:
        use_timing_cache(job.config, cache, errors)
    blob = job.run(shapes)
    engine.write_bytes(blob)
    if cache is not None:
        keep_timing_cache(job.config, cache)
    inspected = inspect(trt, logger, bytes(blob), plan, engine, convolutions) if loads else None
    return {
        "package_version": str(trt.__version__),
        "precision": precision,
        "layer_types": layer_types,
        "convolutions": asdict(convolutions),
        "inspected": inspected,
        "tf32": job.tf32,
        "input": INPUT,
        "shapes": shapes,
        "build_seconds": job.seconds,
        "size_bytes": blob.nbytes,
        "onnx_sha256": hashlib.sha256(model).hexdigest(),
    }


def inspect(
    trt: TensorRT, logger: ILogger, blob: bytes, plan: EnginePlan, path: Path, convolutions: Convolutions
) -> dict[str, Any]:
    """Load the new engine on a GPU that it was built for, and see that it keeps its promise.

    Raises:
        CheckFailed: it does not load, or computes in other types than the plan's.
    """
    _runtime, engine = deserialize(trt, logger, blob, version_compatible=plan.version_compatible)  # it must outlive it
    if engine is None:
        raise CheckFailed(f"the new engine {path} does not load", "the runtime answers with nothing", "build again")
    layers = inspect_engine(trt, engine, plan.precision, tf32=plan.tf32, convolutions=convolutions)
    require_kept(path, layers)
    return asdict(layers)


def open_channel() -> Send:
    """Sends JSON lines to the parent. Whatever the libraries print goes to stderr instead of between them."""
    channel, lock = os.fdopen(os.dup(1), "w", encoding="utf-8"), threading.Lock()
    os.dup2(2, 1)

    def send(message: dict[str, Any]) -> None:
        with lock:
            channel.write(json.dumps(message) + "\n")
            channel.flush()

    return send


def end_with_parent() -> None:
    """Leave when the parent has closed our stdin, or died: nobody would collect the engine."""
    while os.read(0, 1):
        pass
    os._exit(1)


def main() -> None:
    """Build what the first argument describes, and send the outcome."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C reaches parent and child; only the parent has to speak
    threading.Thread(target=end_with_parent, daemon=True).start()
    send = open_channel()
    job = json.loads(sys.argv[1])
    backend, targets = BACKENDS[job["backend"]], job["plan"]["targets"]
    plan = EnginePlan(**{**job["plan"], "targets": None if targets is None else tuple(targets)})
    try:
        send({"progress": f"loading {backend.product}", "share": 0.0})
        try:
            trt: TensorRT = importlib.import_module(backend.module)
        except (ImportError, OSError) as error:
            do = f"install {backend.module} again"
            raise NotPossible(f"{backend.product} is installed but does not load", str(error), do) from error
        # By the version of the library that is loaded: pip's records may be missing, or another package's.
        tuned = job["timing_cache"]
        cache = timing_cache_path(Path(tuned["folder"]), tuned["gpu"], str(trt.__version__)) if tuned else None
        onnx, engine = Path(job["onnx"]), Path(job["engine"])
        send({"result": build(trt, backend, onnx, engine, plan, send, cache=cache, loads=job["loads"])})
    except Failure as failure:
        send({"failure": [failure.problem, failure.found, failure.advice], "exit_code": failure.exit_code})
    except OSError as error:
        do = "make room on the disk, or check the folder's permissions"
        send({"failure": ["cannot read the model or write the engine", str(error), do], "exit_code": 2})


if __name__ == "__main__":
    main()
