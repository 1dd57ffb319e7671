"""Measure what the exact rewritings and the precisions are worth on this CPU, against a plain export of a network.

Run as ``python -m scripts.graph_speed S L``. Files are of stand-in weights; all run one image in turns with one thread.
The int8 plan is the placement's, without a search, since speed does not depend on what the weights are.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from bench.harness.rounds import Plan, run_rounds
from bench.harness.timed_model import TimedModel
from bench.harness.workload import Workload
from bench.machine.system import machine
from bench.sessions.onnx_runtime import OnnxRuntime
from bench.sessions.openvino import OpenVino
from bench.sessions.protocol import Session
from bench.stats.steadiness import WarmUpRule
from bench.stats.stopping import StopRule
from cli.exclusive import exclusive_machine
from export.graph.onnx_graph import export_onnx, write_onnx
from export.graph.precision import in_precision
from export.images.drawings import SHAPES_SEED, drawn_images
from export.model.config import load_config
from export.model.network import build_network
from export.plan.calibration import drawn_calibration
from export.plan.planned import planned_graph
from export.plan.quantize import export_int8
from export.plan.search import search_plan
from export.synthetic.random_weights import stand_in_weights

PLAIN = "plain FP32 export, ONNX Runtime"
RULE = StopRule(budget_s=120, quantile=0.5)


def write_files(model: str, folder: Path) -> dict[str, Path]:
    """Write the plain export and the rewritten graph in each precision."""
    architecture = load_config(model).architecture
    reference = build_network(architecture, stand_in_weights(architecture))
    files = {name: folder / f"{name}.onnx" for name in ("plain", "fp32", "bf16", "int8")}
    write_onnx(reference, files["plain"], {})
    for precision in ("fp32", "bf16"):
        export_onnx(in_precision(reference, precision), files[precision], {}, precision)
    plan, weights = search_plan(reference, "int8", drawn_calibration(architecture.input_size), trained=False)
    export_int8(planned_graph(reference, plan, weights), files["int8"], {}, plan, weights.int8)
    return files


def measure(model: str, folder: Path) -> None:
    """Time everything that runs a file of this model, and print a line for each."""
    files, inputs = write_files(model, folder), folder / "inputs.npy"
    np.save(inputs, drawn_images(1, load_config(model).input_size, SHAPES_SEED))
    sessions: dict[str, Callable[[], Session]] = {
        PLAIN: partial(OnnxRuntime, files["plain"], "fp32", 1),
        "FP32, ONNX Runtime": partial(OnnxRuntime, files["fp32"], "fp32", 1),
        **{f"{name.upper()}, OpenVINO": partial(OpenVino, files[name], name, 1) for name in ("fp32", "bf16", "int8")},
    }
    models = {name: TimedModel(Workload(name, open_session), inputs) for name, open_session in sessions.items()}
    for timed in models.values():
        timed.load()
    latencies_ms = {name: timed.warm_up(WarmUpRule(cap_s=6)).latency_ms for name, timed in models.items()}
    runners = {name: timed.run_block for name, timed in models.items()}
    rounds = run_rounds(runners, latencies_ms, Plan(PLAIN, RULE), clock=time.monotonic)
    for name in models:
        median_ms = np.median(list(rounds.round_medians_ms(name).values()))
        ratio = rounds.ratio(PLAIN, name)
        shown = f"{ratio.median:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]" if ratio else "not known"
        print(f"{model:<8} {name:<32} {median_ms:8.2f} ms  {shown}", flush=True)


if __name__ == "__main__":
    print(machine())
    with exclusive_machine():
        for name in sys.argv[1:] or ["S", "L"]:
            with tempfile.TemporaryDirectory() as place:
                measure(name, Path(place))
