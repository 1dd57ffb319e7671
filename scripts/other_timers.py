"""Timers of other projects in the rounds: OpenVINO's ``benchmark_app`` and MLPerf's LoadGen."""

import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.harness.timed_model import TimedModel
from bench.harness.workload import DEVICE, HOST_E2E, Samples
from bench.passes.timing import settle
from bench.sessions.openvino import OpenVino

P50, P90 = "p50", "p90"
QUERIES = 65
"""Queries in a block of LoadGen, which needs 64 for a p90. With 65 its percentiles (sample ⌊n·q⌋ from 0) are
nearest ranks (⌈n·q⌉ from 1), as ours are."""
LINE = ":::MLLOG "


class BenchmarkApp:
    """The loop of ``benchmark_app -api sync``, called as by its command line, on our compiled model.

    It reads ``request.latency``, OpenVINO's own clock, after each run, as we do at the boundary ``device``. Its loop is
    independent of ours: its request, its inputs, its list of times.
    """

    def __init__(self, backend: OpenVino, inputs: Sequence[Any]) -> None:
        import openvino
        from openvino.tools.benchmark.benchmark import Benchmark
        from openvino.tools.benchmark.utils.inputs_filling import DataQueue

        self._app = Benchmark("CPU", number_iterations=1, api_type="sync", inference_only=False)
        (self._request,) = self._app.create_infer_requests(backend.compiled)
        self._tensors = [openvino.Tensor(images, shared_memory=True) for images in inputs]
        self._queue = DataQueue({0: self._tensors}, [1] * len(inputs))

    def run_block(self, iterations: int) -> Samples:
        """See ``bench.harness.rounds.RunBlock``; its times come sorted."""
        settle([self._unrecorded])
        self._app.niter = iterations
        times, _, _ = self._app.sync_inference(self._request, self._queue)
        return {DEVICE: times}

    def _unrecorded(self) -> None:
        self._request.set_input_tensors(self._queue.get_next_input())
        self._request.infer()


class LoadGen:
    """Blocks of MLPerf's SingleStream scenario around ``runs``.

    LoadGen measures in C++, from before it calls Python until Python reports that the query is complete: our
    ``host_e2e`` and one call of Python. In SingleStream it calls from the thread that started the test.
    """

    def __init__(self, runs: Sequence[Callable[[], object]]) -> None:
        import mlperf_loadgen

        self._loadgen: Any = mlperf_loadgen
        self._runs = runs

    def run_block(self, iterations: int) -> Samples:
        """See ``bench.harness.rounds.RunBlock``; one block of ``QUERIES``, whatever ``iterations`` is.

        Raises:
            Exception: the error of a run, after LoadGen has ended: it must not pass through its C++.
        """
        settle(self._runs)
        api, raised = self._loadgen, list[BaseException]()

        def issue(queries: Sequence[Any]) -> None:
            for query in queries:
                try:
                    if not raised:
                        self._runs[query.index]()
                except BaseException as error:
                    raised.append(error)
                api.QuerySamplesComplete([api.QuerySampleResponse(query.id, 0, 0)])

        system = api.ConstructSUT(issue, lambda: None)
        library = api.ConstructQSL(len(self._runs), len(self._runs), lambda _: None, lambda _: None)
        with tempfile.TemporaryDirectory(prefix="convnextpose-loadgen-") as folder:
            try:
                no_audit = str(Path(folder) / "none.config")
                api.StartTestWithLogSettings(system, library, self._settings(), self._logs(folder), no_audit)
            finally:
                api.DestroyQSL(library)
                api.DestroySUT(system)
            if raised:
                raise raised[0]
            return read_detail((Path(folder) / "mlperf_log_detail.txt").read_text(encoding="utf-8"))

    def _settings(self) -> Any:
        settings = self._loadgen.TestSettings()
        settings.scenario = self._loadgen.TestScenario.SingleStream
        settings.mode = self._loadgen.TestMode.PerformanceOnly
        settings.min_query_count = settings.max_query_count = QUERIES
        settings.min_duration_ms = 0
        return settings

    def _logs(self, folder: str) -> Any:
        logs = self._loadgen.LogSettings()
        logs.enable_trace = False
        logs.log_output.outdir = folder
        logs.log_output.copy_summary_to_stdout = False
        return logs


def read_detail(text: str) -> Samples:
    """Return the percentiles in ms that LoadGen's detail log holds.

    Raises:
        ValueError: the log does not have ``QUERIES`` queries without an error.
    """
    lines = [json.loads(line.removeprefix(LINE)) for line in text.splitlines() if line.startswith(LINE)]
    values = {line["key"]: line["value"] for line in lines}
    if (values.get("result_query_count"), values.get("num_errors")) != (QUERIES, 0):
        raise ValueError(f"LoadGen did not answer {QUERIES} queries without an error")
    keys = {P50: "result_50.00_percentile_latency_ns", P90: "result_90.00_percentile_latency_ns"}
    return {name: [values[key] / 1e6] for name, key in keys.items()}


class OurPercentiles:
    """Our own blocks of ``QUERIES`` iterations, as nearest-rank percentiles of ``host_e2e``."""

    def __init__(self, model: TimedModel) -> None:
        self._model = model

    def run_block(self, iterations: int) -> Samples:
        """See ``bench.harness.rounds.RunBlock``."""
        samples = self._model.run_block(QUERIES)[HOST_E2E]
        p50, p90 = np.quantile(samples, (0.5, 0.9), method="inverted_cdf")
        return {P50: [float(p50)], P90: [float(p90)]}
