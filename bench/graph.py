"""What the exact rewritings are worth: the deploy graph beside a plain export of the reference.

Both are FP32 ONNX files of the same stand-in weights, run by ONNX Runtime with one thread, in turns.
"""

import tempfile
from pathlib import Path
from typing import Any

from bench.interleaved import single_thread_record, take_turns
from bench.statistics import speed_up
from export.config import load_config
from export.progress import Progress
from export.runtime.onnx_runtime import open_session, session_options

ROUNDS = 20
ITERATIONS = 5


def measure_graphs(models: list[str], progress: Progress) -> dict[str, Any]:
    """One row a model: both latencies, and how many times faster the deploy graph is."""
    return single_thread_record(ROUNDS, ITERATIONS, [_measure(model, progress) for model in models])


def _measure(model: str, progress: Progress) -> dict[str, Any]:
    from export.deploy import deploy
    from export.drawings import SHAPES_SEED, drawn_images
    from export.interface import INPUT
    from export.network import build_network
    from export.onnx_graph import write_onnx
    from export.pose import normalise
    from export.standin import stand_in_weights

    architecture = load_config(model).architecture
    progress(f"{model}: exporting both graphs")
    reference = build_network(architecture, stand_in_weights(architecture))
    image = normalise(drawn_images(1, architecture.input_size, SHAPES_SEED))
    with tempfile.TemporaryDirectory() as folder:
        sessions = {}
        for name, network in (("plain", reference), ("deploy", deploy(reference))):
            path = Path(folder) / f"{name}.onnx"
            write_onnx(network, path, {})
            sessions[name] = open_session(path, session_options(1))
        contenders = {name: lambda s=session: s.run(None, {INPUT: image}) for name, session in sessions.items()}
        timings = take_turns(
            contenders,
            rounds=ROUNDS,
            iterations=ITERATIONS,
            progress=lambda text, share=None: progress(f"{model}: {text}", share),
        )
    ratio = speed_up(timings["plain"].round_medians_ms, timings["deploy"].round_medians_ms)
    assert ratio is not None
    return {
        "model": model,
        "plain_ms": timings["plain"].median_ms,
        "deploy_ms": timings["deploy"].median_ms,
        "speed_up": ratio.median,
        "speed_up_low": ratio.low,
        "speed_up_high": ratio.high,
    }
