"""What precisions are worth on a CPU that has them: OpenVINO beside a plain FP32 export in ONNX Runtime.

All files are of the same stand-in weights and run with one thread, in turns. The int8 plan is the placement's, without
a search: stand-in weights cannot be searched, and speed does not depend on what the weights are.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from bench.interleaved import single_thread_record, take_turns
from bench.statistics import speed_up
from export.config import load_config
from export.progress import Progress
from export.runtime.onnx_runtime import open_session, session_options
from export.runtime.openvino import compile_for_cpu

ROUNDS = 20
ITERATIONS = 5
BASE = "plain FP32 graph, ONNX Runtime"


def measure_precisions(models: list[str], progress: Progress) -> dict[str, Any]:
    """Rows for each model: what ran, its latency, and how many times faster than the plain export it is."""
    return single_thread_record(ROUNDS, ITERATIONS, [row for model in models for row in _measure(model, progress)])


def _measure(model: str, progress: Progress) -> list[dict[str, Any]]:
    from export.drawings import SHAPES_SEED, drawn_images
    from export.interface import INPUT
    from export.pose import normalise

    progress(f"{model}: exporting the graphs")
    with tempfile.TemporaryDirectory() as folder:
        files = _write(model, Path(folder))
        image = normalise(drawn_images(1, load_config(model).input_size, SHAPES_SEED))
        plain, deploy = (open_session(files[name], session_options(1)) for name in ("plain", "fp32"))
        contenders: dict[str, Callable[[], object]] = {
            BASE: lambda: plain.run(None, {INPUT: image}),
            "FP32, ONNX Runtime": lambda: deploy.run(None, {INPUT: image}),
            "FP32, OpenVINO in FP32": _openvino(files["fp32"], "f32", image),
            "BF16, OpenVINO in BF16": _openvino(files["bf16"], "bf16", image),
            "INT8, OpenVINO, the rest in FP32": _openvino(files["int8"], "f32", image),
            "INT8, OpenVINO, the rest in BF16": _openvino(files["int8"], "bf16", image),
        }
        timings = take_turns(
            contenders,
            rounds=ROUNDS,
            iterations=ITERATIONS,
            progress=lambda text, share=None: progress(f"{model}: {text}", share),
        )
    base = timings[BASE].round_medians_ms
    rows = []
    for name, timing in timings.items():
        ratio = speed_up(base, timing.round_medians_ms)
        assert ratio is not None
        rows.append(
            {
                "model": model,
                "what": name,
                "latency_ms": timing.median_ms,
                "speed_up": ratio.median,
                "speed_up_low": ratio.low,
                "speed_up_high": ratio.high,
            }
        )
    return rows


def _write(model: str, folder: Path) -> dict[str, Path]:
    from export.calibration import drawn_calibration
    from export.network import build_network
    from export.onnx_graph import export_onnx, write_onnx
    from export.plan_search import search_plan
    from export.planned import planned_graph
    from export.precision import in_precision
    from export.quantize import export_int8
    from export.standin import stand_in_weights

    architecture = load_config(model).architecture
    reference = build_network(architecture, stand_in_weights(architecture))
    plan, weights = search_plan(reference, "int8", drawn_calibration(architecture.input_size), trained=False)
    files = {name: folder / f"{name}.onnx" for name in ("plain", "fp32", "bf16", "int8")}
    write_onnx(reference, files["plain"], {})
    for precision in ("fp32", "bf16"):
        export_onnx(in_precision(reference, precision), files[precision], {}, precision)
    export_int8(planned_graph(reference, plan, weights), files["int8"], {}, plan, weights.int8)
    return files


def _openvino(path: Path, hint: str, image: NDArray[Any]) -> Callable[[], object]:
    settings = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY"}
    request = compile_for_cpu(path, settings).create_infer_request()
    return lambda: request.infer({0: image})
