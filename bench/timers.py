"""Timers that others wrote, as contenders of ours: OpenVINO's ``benchmark_app`` and MLPerf's LoadGen."""

import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.backends.openvino import OpenVino
from bench.worker import DEVICE, HOST_E2E, Samples, Subject, settle
from export.errors import CheckFailed

P50, P90 = "p50", "p90"
QUERIES = 65
"""In a block of LoadGen's: it wants 64 for a p90. At 65 its percentiles (the sample at ⌊n·q⌋ from 0) are nearest ranks
(⌈n·q⌉ from 1), which ours are."""
DETAIL = "mlperf_log_detail.txt"
LINE = ":::MLLOG "


class BenchmarkApp:
    """The loop of ``benchmark_app -api sync``, called as its command line calls it, on our compiled model.

    It reads ``request.latency``, OpenVINO's own clock, after each run, as we do at the boundary ``device``. What is
    independent is the loop: its request, its way of handing over inputs, its collecting of times.
    """

    def __init__(self, backend: OpenVino, inputs: Sequence[Any]) -> None:
        import openvino
        from openvino.tools.benchmark.benchmark import Benchmark
        from openvino.tools.benchmark.utils.inputs_filling import DataQueue

        self._app = Benchmark("CPU", number_iterations=1, api_type="sync", inference_only=False)
        (self._request,) = self._app.create_infer_requests(backend.compiled)
        tensors = [openvino.Tensor(images, shared_memory=True) for images in inputs]
        self._queue = DataQueue({0: tensors}, [1] * len(tensors))
        self._tensors = tensors

    def visit(self, iterations: int) -> Samples:
        """See ``bench.rounds.Contender``; its times come sorted."""
        settle([self._unrecorded])
        self._app.niter = iterations
        times, _, _ = self._app.sync_inference(self._request, self._queue)
        return {DEVICE: times}

    def _unrecorded(self) -> None:
        self._request.set_input_tensors(self._queue.get_next_input())
        self._request.infer()


class LoadGen:
    """Blocks of MLPerf's SingleStream scenario around ``runs``.

    LoadGen takes the time in C++, from before it calls Python until Python has told it that the query is complete. So
    its boundary is our ``host_e2e`` and, on top, one call back into Python: the lock of the interpreter, the query
    as a Python object, and the completion. ``added_ms`` measures that with a query that does nothing.
    """

    def __init__(self, runs: Sequence[Callable[[], object]]) -> None:
        import mlperf_loadgen

        self._loadgen: Any = mlperf_loadgen
        self._runs = runs

    def visit(self, iterations: int) -> Samples:
        """See ``bench.rounds.Contender``; one block of ``QUERIES``, whatever ``iterations`` is."""
        settle(self._runs)
        return self._block(self._runs)

    def added_ms(self) -> float:
        """The median latency of a query that does nothing."""
        return self._block([lambda: None])[P50][0]

    def _block(self, runs: Sequence[Callable[[], object]]) -> Samples:
        """Raises whatever a run raised: an exception must not pass through LoadGen, which would wait for ever."""
        api = self._loadgen
        raised: list[BaseException] = []

        def issue(queries: Sequence[Any]) -> None:
            for query in queries:
                try:
                    if not raised:
                        runs[query.index]()
                except BaseException as error:
                    raised.append(error)
                api.QuerySamplesComplete([api.QuerySampleResponse(query.id, 0, 0)])

        system = api.ConstructSUT(issue, lambda: None)
        library = api.ConstructQSL(len(runs), len(runs), lambda _: None, lambda _: None)
        with tempfile.TemporaryDirectory(prefix="convnextpose-loadgen-") as folder:
            try:
                no_audit = str(Path(folder) / "none.config")
                api.StartTestWithLogSettings(system, library, self._settings(), self._logs(folder), no_audit)
            finally:
                api.DestroyQSL(library)
                api.DestroySUT(system)
            if raised:
                raise raised[0]
            return read_detail((Path(folder) / DETAIL).read_text(encoding="utf-8"))

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
    """The percentiles in ms that LoadGen's ``mlperf_log_detail.txt`` holds.

    Raises:
        CheckFailed: it is not the log of ``QUERIES`` queries without an error.
    """
    lines = [json.loads(line.removeprefix(LINE)) for line in text.splitlines() if line.startswith(LINE)]
    said = {line["key"]: line["value"] for line in lines}
    if (said.get("result_query_count"), said.get("num_errors")) != (QUERIES, 0):
        seen = f"{said.get('result_query_count')} queries, {said.get('num_errors')} errors"
        raise CheckFailed("LoadGen did not do what it was asked", seen, f"it was asked for {QUERIES} queries")
    return {name: [said[f"result_{quantile}_percentile_latency_ns"] / 1e6] for name, quantile in _QUANTILES.items()}


_QUANTILES = {P50: "50.00", P90: "90.00"}


class OurPercentiles:
    """Our own visits of ``QUERIES`` iterations, as nearest-rank percentiles of ``host_e2e``."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject

    def visit(self, iterations: int) -> Samples:
        """See ``bench.rounds.Contender``."""
        samples = self._subject.visit(QUERIES)[HOST_E2E]
        p50, p90 = np.quantile(samples, (0.5, 0.9), method="inverted_cdf")
        return {P50: [float(p50)], P90: [float(p90)]}
