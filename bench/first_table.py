"""A first look at latency: the PyTorch FP32 reference beside ONNX Runtime, on this machine's CPU.

One image, host to host, in one process. It answers "is it worth it, about how much" and nothing finer.
"""

from pathlib import Path
from typing import Any

from bench.machine import machine, usable_cores
from export.artifacts import write_json
from export.model_steps import WEIGHTS
from export.pipeline import Exported
from export.progress import Progress
from export.request import Request
from export.steps import Folder, Made, Step

REPORT = "latency.json"
ROUNDS = 8
"""Two more than the 95 % interval of a median needs."""
ITERATIONS = 3
TIMED = ("fp32", "fp16", "int8")
"""What ONNX Runtime can run on the CPU, first choice first. It computes FP16 files in FP32 and has no BF16."""
PYTORCH, ONNX_RUNTIME = "PyTorch FP32 reference", "ONNX Runtime"


def first_timed(exported: Exported) -> str | None:
    """The precision that the table is made of: one that has passed its parity and that ONNX Runtime can run."""
    return next((precision for precision in TIMED if exported.passed(precision)), None)


def first_table_step(folder: Folder, request: Request, weights: Made, onnx: Made, precision: str) -> Made:
    """Time both with one thread and with all; the result holds a row for each."""
    source = request.onnx_path(precision)

    def work(made: Path, progress: Progress) -> dict[str, Any]:
        result = measure(folder.path / WEIGHTS, folder.path / source, precision, progress)
        write_json(made / REPORT, result)
        return result

    options = {"rounds": ROUNDS, "iterations": ITERATIONS, "machine": machine(), "precision": precision}
    inputs = {WEIGHTS: weights.outputs[WEIGHTS], source: onnx.outputs[source]}
    tools = ("torch", "onnxruntime-gpu", "onnxruntime")
    return folder.perform(Step("latency", (REPORT,), inputs, options, tools, code=("bench", "export")), work)


def measure(weights: Path, onnx: Path, precision: str, progress: Progress) -> dict[str, Any]:
    """The table as plain data."""
    import torch

    from bench.interleaved import protocol, take_turns
    from bench.statistics import speed_up
    from export.drawings import SHAPES_SEED, drawn_images
    from export.interface import INPUT
    from export.pose import normalise
    from export.runtime.onnx_runtime import open_session, session_options
    from export.weights_file import load_network

    network = load_network(weights)
    image = normalise(drawn_images(1, network.architecture.input_size, SHAPES_SEED))
    pixels = torch.from_numpy(image)
    counts = sorted({1, usable_cores()})
    sessions = {threads: open_session(onnx, session_options(threads)) for threads in counts}

    def run_reference(threads: int) -> None:
        torch.set_num_threads(threads)
        with torch.inference_mode():
            network(pixels).numpy()

    contenders: dict[str, Any] = {}
    for threads in counts:
        contenders[f"{PYTORCH}/{threads}"] = lambda threads=threads: run_reference(threads)
        contenders[f"{ONNX_RUNTIME}/{threads}"] = lambda threads=threads: sessions[threads].run(None, {INPUT: image})
    before = torch.get_num_threads()
    try:
        timings = take_turns(contenders, rounds=ROUNDS, iterations=ITERATIONS, progress=progress)
    finally:
        torch.set_num_threads(before)
    rows = []
    for threads in counts:
        base = timings[f"{PYTORCH}/{threads}"]
        for runtime, kind in ((PYTORCH, "fp32"), (ONNX_RUNTIME, precision)):
            timing = timings[f"{runtime}/{threads}"]
            ratio = speed_up(base.round_medians_ms, timing.round_medians_ms)
            assert ratio is not None
            rows.append(
                {
                    "runtime": runtime,
                    "precision": kind,
                    "threads": threads,
                    "latency_ms": timing.median_ms,
                    "speed_up": ratio.median,
                    "speed_up_low": ratio.low,
                    "speed_up_high": ratio.high,
                    "samples_ms": timing.samples_ms,
                }
            )
    return {
        "schema_version": "1.0",
        "boundary": "host_e2e",
        "batch": 1,
        "protocol": protocol(ROUNDS, ITERATIONS),
        "machine": machine(),
        "rows": rows,
    }
