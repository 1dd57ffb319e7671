"""The child process that builds one engine; ``export.engine.build`` starts it and reads its JSON lines.

It calls only members that ``export.runtime.tensorrt_api`` declares: those that TensorRT 10.3 to 11.4 and TensorRT-RTX
1.7 share, and the compute capabilities of RTX.
"""

import hashlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from pydantic import TypeAdapter

from export.common.errors import CheckFailed, Failure
from export.common.interface import INPUT
from export.engine.layers import EngineLayers, inspect_engine, require_precision
from export.engine.onnx_checks import onnx_precision, planned_fp32, profile_shapes
from export.engine.plan import BuildJob
from export.engine.record import BuildResult, Profile
from export.runtime.engine_builder import Build
from export.runtime.engine_file import PRODUCTS
from export.runtime.engine_network import Convolutions, check_interface, check_types
from export.runtime.registry import load_library
from export.runtime.tensorrt import deserialize
from export.runtime.tensorrt_api import ILogger, TensorRT
from export.runtime.tensorrt_log import make_logger

Send = Callable[[dict[str, Any]], None]


def build(trt: TensorRT, job: BuildJob, send: Send) -> BuildResult:
    """Write the engine of a job, after proving its precision.

    Raises:
        BadInput: the model does not fit the plan.
        CheckFailed: the model does not keep its precision, the builder refused, or it logged an error although it
            returned an engine; or the engine computes in other types than its network.
    """
    errors: list[str] = []
    logger = make_logger(trt, errors, lambda line: send({"log": line}))
    model, name = job.onnx.read_bytes(), str(job.onnx)
    builder = Build(trt, PRODUCTS[job.product], logger, errors, model, name, job.plan.settings)
    shape = check_interface(builder.network, name)
    precision = onnx_precision(model, job.onnx, job.plan)
    layer_types, convolutions = check_types(builder.network, name, precision, planned_fp32(model))
    low, usual, high = profile_shapes(shape, job.plan)
    send({"progress": "building"})
    blob = builder.run((low, usual, high))
    job.engine.write_bytes(blob)
    return BuildResult(
        package_version=str(trt.__version__),
        precision=precision,
        layer_types=layer_types,
        convolutions=convolutions,
        inspected=inspect(trt, logger, bytes(blob), job, convolutions) if job.inspect else None,
        tf32=builder.tf32,
        profile=Profile(INPUT, low, usual, high),
        build_seconds=builder.seconds,
        size_bytes=blob.nbytes,
        onnx_sha256=hashlib.sha256(model).hexdigest(),
    )


def inspect(trt: TensorRT, logger: ILogger, blob: bytes, job: BuildJob, convolutions: Convolutions) -> EngineLayers:
    """Load the new engine on this machine's GPU, and check the types of its layers.

    Raises:
        CheckFailed: it does not load, or computes in other types than the plan's.
    """
    # The runtime must outlive the engine.
    _runtime, engine = deserialize(trt, logger, blob, version_compatible=job.plan.version_compatible)
    if engine is None:
        raise CheckFailed(f"the new engine {job.engine} does not load", "the runtime returns nothing", "build again")
    layers = inspect_engine(trt, engine, job.plan.precision, tf32=job.plan.tf32, convolutions=convolutions)
    require_precision(job.engine, layers)
    return layers


def open_channel() -> Send:
    """Return a function that sends JSON lines to the parent; reserve stdout for them."""
    channel, lock = os.fdopen(os.dup(1), "w", encoding="utf-8"), threading.Lock()
    os.dup2(2, 1)

    def send(message: dict[str, Any]) -> None:
        with lock:
            channel.write(json.dumps(message) + "\n")
            channel.flush()

    return send


def end_with_parent() -> None:
    """Exit when the parent has closed this process's stdin, or died."""
    while os.read(0, 1):
        pass
    os._exit(1)


def main() -> None:
    """Build the engine that the first argument describes, and send the outcome."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C reaches parent and child; only the parent reports it
    threading.Thread(target=end_with_parent, daemon=True).start()
    send = open_channel()
    job = TypeAdapter(BuildJob).validate_json(sys.argv[1])
    try:
        send({"progress": f"loading {PRODUCTS[job.product].name}"})
        trt: TensorRT = load_library(job.product)
        send({"result": asdict(build(trt, job, send))})
    except Failure as failure:
        send({"failure": [failure.problem, failure.detail, failure.advice], "exit_code": failure.exit_code})
    except OSError as error:
        advice = "make room on the disk, or check the folder's permissions"
        send({"failure": ["cannot read the model or write the engine", str(error), advice], "exit_code": 2})


if __name__ == "__main__":
    main()
