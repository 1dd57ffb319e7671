"""Builders' processes with a defect in them."""

import sys
import textwrap


def plant(code: str) -> tuple[str, ...]:
    """A worker with a defect: ``code`` runs before its ``main``, with the worker's module as ``w``."""
    head = "import os, sys, time, types\nfrom export.engine import build as engine, plan as engine_plan, worker as w\n"
    head += "from export.runtime import engine_builder as b\n"
    return (sys.executable, "-c", head + textwrap.dedent(code) + "\nw.main()")


def setting(line: str) -> str:
    """Code to plant: one more setting of the builder, after ours."""
    body = f"config = inner(trt, builder, plan); {line}; return config"
    return f"inner = b.configure\ndef configure(trt, builder, plan): {body}\nb.configure = configure"


STALLING = plant(
    """
    def stalling(send):
        def tell(message):
            send(message)
            if message.get("share", 0) > 0.3:
                time.sleep(60)
        return tell
    inner = w.make_monitor
    w.make_monitor = lambda trt, send: inner(trt, stalling(send))
    """
)
"""Stops within the builder's own call, at a third of the work."""
