"""Speed of the deploy graph beside the graphs that it replaced, in one interleaved run.

Run as ``python -m scripts.graph_speed EXPORTED_FOLDER`` (``make bench-graph``), for FP32, BF16 and INT8, in ONNX
Runtime and OpenVINO, on one thread:

* ``reference``: the network as it was released, exported unchanged; FP32 only;
* ``resized``: the deploy graph with its logits upsampled by a resize and decoded by sums;
* ``deploy``: the deploy graph.
"""

import argparse
import copy
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from bench.harness.rounds import Plan, Rounds, run_rounds
from bench.harness.workload import HOST_E2E, Samples
from bench.passes.timing import settle, time_runs
from bench.sessions.exported import read_export
from bench.stats.stopping import StopRule
from export.common.errors import Failure, NotPossible
from export.graph.deploy import MatrixDecode
from export.graph.onnx_graph import write_onnx
from export.graph.precision import in_precision
from export.graph.type_proof import OPSETS
from export.images.figures import PARITY_SEED
from export.images.image_set import drawn_set
from export.model.network import ConvNeXtPose, Doubling
from export.model.weights_file import load_network
from export.pipeline.layout import WEIGHTS, plan_paths
from export.plan.planned import load_planned, planned_graph
from export.plan.precision_plan import read_plan
from export.plan.quantize import insert_int8
from export.runtime.onnx_runtime import OnnxRuntimeSession
from export.runtime.openvino import OpenVinoSession
from export.runtime.pose import normalise
from export.runtime.session import Images, Session

PRECISIONS = ("fp32", "bf16", "int8")
BASE, REFERENCE, DEPLOY = "resized", "reference", "deploy"
RULE = StopRule(half_width=0.005, budget_s=30.0)


class ResizedDecode(nn.Module):
    """The decode before ``MatrixDecode``: the same function by a resize, a softmax and sums."""

    def __init__(self, decode: MatrixDecode) -> None:
        super().__init__()
        self.sizes = decode.joints, decode.depth_dim, decode.edge
        self.upsample = Doubling() if decode.doubles else nn.Identity()

    def forward(self, logits: Tensor) -> Tensor:
        """(N, joints * depth_dim, h, h) of any type → (N, joints, 3) in bins, in FP32."""
        joints, depth_dim, edge = self.sizes
        volume = self.upsample(logits).float().reshape(-1, joints, depth_dim * edge**2).softmax(dim=2)
        volume = volume.reshape(-1, joints, depth_dim, edge**2)
        plane, bins = volume.sum(dim=2).reshape(-1, joints, edge, edge), torch.arange(edge, dtype=torch.float32)
        x, y = ((plane.sum(dim=axis) * bins).sum(dim=2) for axis in (2, 3))
        z = (volume.sum(dim=3) * torch.arange(depth_dim, dtype=torch.float32)).sum(dim=2)
        return torch.stack((x, y, z), dim=2)


def write_graphs(exported: Path, precision: str, folder: Path) -> dict[str, Path]:
    """Write the graphs of one precision of an export; return graph → file.

    Raises:
        BadInput: its weights or its plan cannot be read.
    """
    reference = load_network(exported / WEIGHTS)
    insert = None
    if precision == "fp32":
        graph = in_precision(reference, precision)
    else:
        paths = plan_paths(precision)
        plan = read_plan(exported / paths.record, reference.architecture)
        planned = load_planned(exported / paths.weights)
        graph = planned_graph(reference, plan, planned)
        insert = (plan, planned.int8) if precision == "int8" else None
    resized = copy.deepcopy(graph)
    assert isinstance(graph.decode, MatrixDecode)
    resized.decode = ResizedDecode(graph.decode)
    graphs: dict[str, ConvNeXtPose] = {BASE: resized, DEPLOY: graph}
    if precision == "fp32":
        graphs[REFERENCE] = reference
    files = {name: folder / f"{precision}-{name}.onnx" for name in graphs}
    for name, path in files.items():
        write_onnx(graphs[name], path, {}, OPSETS[precision])
        if insert:
            model = onnx.load(path)
            insert_int8(model, *insert)
            onnx.save(model, path)
    return files


def compare(files: dict[str, Path], precision: str) -> Iterator[tuple[str, Rounds]]:
    """Yield each runtime for this precision with the rounds of all graphs in it, on one image."""
    size = onnx.load(next(iter(files.values()))).graph.input[0].type.tensor_type.shape.dim[2].dim_value
    image = normalise(drawn_set(size, 1, PARITY_SEED).images)
    for open_session in (OnnxRuntimeSession, OpenVinoSession):
        try:
            timers = {name: _Timer(open_session(path, precision, 1), image) for name, path in files.items()}
        except NotPossible as reason:
            print(f"{precision:<5} {open_session.runtime:<12} not run: {reason.detail}")
            continue
        latencies = {name: timer(5)[HOST_E2E][-1] for name, timer in timers.items()}
        yield open_session.runtime, run_rounds(timers, latencies, Plan(BASE, RULE), clock=time.monotonic)


class _Timer:
    """One block of a session's runs."""

    def __init__(self, session: Session, image: Images) -> None:
        self._runs = [lambda: session.run(image)]

    def __call__(self, iterations: int) -> Samples:
        settle(self._runs)
        return {HOST_E2E: time_runs(self._runs, iterations)}


def main() -> int:
    """Print a row for each precision, runtime and graph; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m scripts.graph_speed", description=__doc__)
    parser.add_argument("folder", type=Path, help="an exported model, as build/L")
    try:
        exported = read_export(parser.parse_args().folder)
        with tempfile.TemporaryDirectory(prefix="convnextpose-graphs-") as folder:
            for precision in (name for name in PRECISIONS if name in exported.precisions):
                files = write_graphs(exported.path, precision, Path(folder))
                for runtime, rounds in compare(files, precision):
                    for name in files:
                        ms, ratio = sorted(rounds.round_medians_ms(name).values()), rounds.ratio(BASE, name)
                        gain = f"{ratio.median:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]" if ratio else "too few rounds"
                        row = f"{precision:<5} {runtime:<12} {name:<10} {ms[len(ms) // 2]:8.2f} ms"
                        print(f"{row}  {gain} × {BASE}, {len(ms)} rounds", flush=True)
    except Failure as failure:
        print(failure.report(), file=sys.stderr)
        return failure.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
