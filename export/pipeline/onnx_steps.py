"""Steps that make one ONNX file: its graph, and its parity with the reference model."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from export.common.files import write_json
from export.common.interface import precision_of
from export.common.progress import Progress
from export.graph.onnx_record import OnnxRecord
from export.parity.budgets import Budget, budget_for, status_of
from export.pipeline.layout import TRUTH, WEIGHTS, parity_path, plan_paths
from export.pipeline.reference_steps import describe_weights
from export.pipeline.reports import BatchReport, ParityReport, RunReport, SkippedRun
from export.pipeline.request import ExportRequest
from export.pipeline.results import ExportResults
from export.pipeline.steps import Folder, Step, StepResult

if TYPE_CHECKING:
    from export.parity.comparison import Joints, Parity

PARITY_TOOLS = ("onnxruntime-gpu", "onnxruntime", "openvino", "numpy")
"""Packages that decide the joints of a file."""


def onnx_step(folder: Folder, request: ExportRequest, results: ExportResults, variant: str) -> StepResult[OnnxRecord]:
    """Rewrite the network for deployment, and write it as ONNX."""
    path, precision, plan = request.onnx_path(variant), precision_of(variant), results.plan(variant)
    paths, description = plan_paths(precision), describe_weights(request, results.weights)

    def work(target: Path, progress: Progress) -> OnnxRecord:
        from export.graph.onnx_graph import consumer_metadata, export_onnx
        from export.graph.precision import in_precision
        from export.model.weights_file import load_network
        from export.plan.planned import load_planned
        from export.plan.planned_file import export_planned
        from export.plan.precision_plan import read_plan

        network, takes_pixels = load_network(folder.path / WEIGHTS), variant != precision
        progress("tracing and writing the graph")
        metadata = consumer_metadata(network.architecture, precision=precision, **description)
        if plan is None:
            graph = in_precision(network, precision, takes_pixels=takes_pixels)
            return export_onnx(graph, target / path, metadata, precision)
        choice = read_plan(folder.path / paths.record, network.architecture)
        planned = load_planned(folder.path / paths.weights)
        return export_planned(network, target / path, metadata, choice, planned, takes_pixels=takes_pixels)

    inputs = results.weights.hashes(WEIGHTS) | (plan.hashes(paths.record, paths.weights) if plan else {})
    options = {"edition": variant, **description}
    step = Step(f"onnx-{variant}", (path,), inputs, options, ("torch", "onnx", "onnxscript", "onnx-ir"))
    return folder.perform(step, work, OnnxRecord)


def parity_step(
    folder: Folder, request: ExportRequest, results: ExportResults, variant: str
) -> StepResult[ParityReport]:
    """Compare an ONNX file with the ground truth, in every runtime for this precision and at several batch sizes."""
    path, precision, plan = request.onnx_path(variant), precision_of(variant), results.plan(variant)
    report, simulated = parity_path(variant), plan_paths(precision).simulation
    budget = budget_for(precision, trained=request.trained, require=request.require)

    def work(target: Path, progress: Progress) -> ParityReport:
        import numpy as np

        from export.graph.onnx_graph import read_metadata
        from export.parity.comparison import compare_joints, worst_run
        from export.parity.sessions import PARITY_BATCHES, computation, parity_runtimes, run_everywhere
        from export.runtime.pose import Volume, normalise

        metadata, known = read_metadata(folder.path / path), results.truth.get()
        volume = Volume(metadata["heatmap_size"], metadata["depth_dim"], metadata["input_size"])
        with np.load(folder.path / TRUTH) as arrays:
            images, joints, fp32 = (arrays[name] for name in ("images", "truth", "reference"))
        simulation = None
        if plan is not None:
            with np.load(folder.path / simulated) as arrays:
                simulation = arrays["simulation"]

        def compare(candidate: "Joints", sums_in_fp32: bool) -> "Parity":
            parity = compare_joints(joints, fp32, candidate, volume, budget, simulation, sums_in_fp32=sums_in_fp32)
            if request.trained and known.statistics.verdict == "unknown":
                return replace(parity, outcome="inconclusive", reason=known.statistics.reason)
            return parity

        inputs = images if variant != precision else normalise(images)
        _, skipped = parity_runtimes(precision)
        runs: list[RunReport] = []
        parities: dict[tuple[str, int], Parity] = {}
        for runtime, session, candidates in run_everywhere(folder.path / path, precision, inputs, progress):
            sums_in_fp32 = "float16" not in session.convolution_types()
            batches = {batch: compare(candidate, sums_in_fp32) for batch, candidate in candidates.items()}
            parities |= {(runtime.name, batch): parity for batch, parity in batches.items()}
            runs.append(_run_report(runtime.name, computation(session), batches, budget))
        (name, batch), worst = worst_run(parities)
        result = ParityReport(
            artifact=path,
            precision=precision,
            edition=variant,
            images=known,
            runs=tuple(runs),
            not_run=tuple(SkippedRun(runner=runner, reason=reason) for runner, reason in skipped.items()),
            runtime=next(run.runtime for run in runs if run.runner == name),
            batches=PARITY_BATCHES,
            worst_batch=batch,
            worst_joint_name=metadata["joint_names"][worst.worst_joint],
            budget=budget,
            status=status_of(worst.outcome, budget),
            **worst.as_json(),
        )
        (target / report).parent.mkdir()
        write_json(target / report, result.model_dump(mode="json"))
        return result

    inputs = results.onnx[variant].hashes(path) | results.truth.hashes(TRUTH)
    inputs |= plan.hashes(simulated) if plan else {}
    options = {"budget": asdict(budget)}
    step = Step(f"parity-{variant}", (report,), inputs, options, PARITY_TOOLS)
    return folder.perform(step, work, ParityReport)


def _run_report(name: str, runtime: str, batches: "dict[int, Parity]", budget: Budget) -> RunReport:
    """Return the report of one runtime, from its parity at each batch size."""
    from export.parity.comparison import worst_run

    batch, worst = worst_run(batches)
    return RunReport(
        runner=name,
        runtime=runtime,
        status=status_of(worst.outcome, budget),
        worst_batch=batch,
        batches={str(size): BatchReport(**parity.as_json()) for size, parity in batches.items()},
    )
