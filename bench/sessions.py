"""ONNX Runtime sessions that leave the processor alone when it is another's turn."""

from pathlib import Path
from typing import Any


def onnx_runtime_session(model: Path | bytes, threads: int) -> Any:
    """A CPU session with exactly ``threads`` threads, whose idle workers stop spinning after each run."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
