"""Builder processes with a planted defect."""

import sys
import textwrap

IMPORTS = """
import dataclasses, importlib, os, sys, time, types
from pathlib import Path
from export.engine import plan as engine_plan, worker as w
from export.runtime import engine_builder as b, engine_network as n
"""


def plant(code: str) -> tuple[str, ...]:
    """Return the command of a worker that runs ``code`` before its ``main``."""
    return (sys.executable, "-c", IMPORTS + textwrap.dedent(code) + "\nw.main()")


def setting(line: str) -> str:
    """Return code to plant: one more setting of the builder, after ours."""
    body = f"config = inner(trt, builder, plan); {line}; return config"
    return f"inner = b.configure\ndef configure(trt, builder, plan): {body}\nb.configure = configure"


STALLING = plant("b.Build.run = lambda build, shapes: time.sleep(60)")
"""A worker that stalls where the builder works."""
