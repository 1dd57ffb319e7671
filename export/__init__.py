"""From a checkpoint of uncertain origin to proven ONNX files and engines.

Read the modules in the order in which the data passes through them: ``checkpoint`` → ``evidence`` → ``verdict`` →
``network`` → ``deploy`` → ``onnx_graph`` → ``parity`` → ``engine``. One function runs them all:

>>> from pathlib import Path
>>> from export import ExportRequest, load_config, run_export
>>> export = run_export(ExportRequest(load_config("XS-atto")), Path("build/XS-atto"))
>>> export.require_success()
>>> export.manifest.artifacts[0].path, export.manifest.artifacts[0].status
('onnx/XS-atto-fp32.onnx', 'parity pass')
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from export.model.config import load_config
    from export.pipeline.request import ExportRequest
    from export.pipeline.run import Export, run_export

__all__ = ["Export", "ExportRequest", "load_config", "run_export"]
_MODULES = {
    "Export": "export.pipeline.run",
    "ExportRequest": "export.pipeline.request",
    "load_config": "export.model.config",
    "run_export": "export.pipeline.run",
}


def __getattr__(name: str) -> Any:
    """Import what is public when it is first used: a command that exports nothing stays fast."""
    import importlib

    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)
