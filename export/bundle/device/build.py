#!/usr/bin/env python3
"""Build this bundle's engines on this device: ``python3 build.py [--precision fp16]``.

TensorRT tunes on the GPU that it builds for, which takes minutes. Engines are kept outside of the bundle, in this
user's cache folder, with a record; the runtime and the verifier find them there and load no others that were built
here.
"""

import sys

if __name__ == "__main__":
    import os  # which Python's own start has loaded already

    here = os.path.dirname(os.path.realpath(__file__))
    # A file laid here must not be taken for one of Python's own, not even __future__, also where PYTHONPATH names this
    # folder; and what was compiled here must not be run in place of its source.
    sys.path[:] = [entry for entry in sys.path if os.path.realpath(entry or os.curdir) != here]
    sys.dont_write_bytecode, sys.pycache_prefix = True, os.devnull

import argparse
import importlib.util
import re
import threading
import time
from pathlib import Path
from typing import Any, List, Optional, Tuple

HERE = Path(__file__).resolve().parent
_place = importlib.util.spec_from_file_location("verify", str(HERE / "verify.py"))
assert _place is not None
assert _place.loader is not None
_verifier = importlib.util.module_from_spec(_place)  # by its place: PYTHONPATH may lead to another of that name
_place.loader.exec_module(_verifier)

EVERY_S = 10.0


def main(arguments: Optional[List[str]] = None) -> int:
    """Build what is asked for; returns the exit code."""
    return int(_verifier.ended(lambda: build(switches().parse_args(arguments))))


def switches() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="build.py", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--runtime", default="tensorrt", choices=("tensorrt", "tensorrt_rtx"))
    parser.add_argument("--precision", default="all", help="fp32, fp16, bf16, int8 or several with commas; or all")
    parser.add_argument("--batches", metavar="MIN,OPT,MAX", help="the batches that an engine takes")
    parser.add_argument("--workspace-mib", type=int, help="scratch memory that an engine may use")
    parser.add_argument("--optimization-level", type=int, choices=range(6), help="how long TensorRT searches")
    parser.add_argument("--hardware-compatible", action="store_true", help="for all Ampere and newer GPUs; slower")
    parser.add_argument("--version-compatible", action="store_true", help="later versions load it, too; slower")
    parser.add_argument(
        "--targets", metavar="8.6,8.9", help="compute capabilities (TensorRT-RTX; by default this GPU's)"
    )
    return parser


def build(asked: Any) -> int:
    """Build and keep the engines.

    Raises:
        Failure: see ``pose_runtime.builder``, or the bundle was changed.
    """
    _verifier.refuse_changed(HERE)
    _verifier.require_numpy()
    from pose_runtime.builder import build_engine
    from pose_runtime.bundle import Bundle
    from pose_runtime.engine_cache import keep_engine
    from pose_runtime.runtime.engine_file import PRODUCTS
    from pose_runtime.runtime.registry import load_library

    bundle, product = Bundle(HERE), PRODUCTS[asked.runtime]
    named = tuple(dict.fromkeys(part.strip() for part in asked.precision.split(",")))
    chosen = bundle.precisions if asked.precision == "all" else named
    entries = [bundle.onnx(precision) for precision in chosen]
    gpu, plan = plan_of(asked, bundle)
    trt = load_library(asked.runtime)
    for entry in entries:
        with Heartbeat(f"{entry['path']} with {product.name} {trt.__version__}"):
            content, record = build_engine(trt, product, bundle.content(entry["path"]), entry, plan, gpu)
        path = keep_engine(content, {**record, "model": bundle.manifest["model"]})
        print(f"{path}: {entry['precision']}, {len(content) / 1e6:.1f} MB, in {record['build_seconds']:.1f} s")
    return 0


def plan_of(asked: Any, bundle: Any) -> Tuple[Any, Any]:
    """The GPU, and what is asked of the builder: the command line's, or else the manifest's.

    Raises:
        BadInput: values that no builder could honour.
        NotPossible: there is no GPU to build for.
    """
    from pose_runtime.builder import BuildPlan
    from pose_runtime.runtime.engine_builder import BuilderSettings
    from pose_runtime.runtime.errors import BadInput, NotPossible
    from pose_runtime.runtime.gpu import first_gpu
    from pose_verify.device import jetson

    usual = bundle.manifest["build"]
    text = asked.batches or ",".join(map(str, usual["batches"]))
    parts = text.split(",")
    sizes = tuple(int(part) for part in parts if part.strip().isdigit())
    if len(parts) != 3 or len(sizes) != 3 or not 1 <= sizes[0] <= sizes[1] <= sizes[2]:
        raise BadInput("impossible batches", text, "give MIN,OPT,MAX with 1 <= MIN <= OPT <= MAX")
    if sizes[0] != 1:
        what, do = "a bundle's engines must take one image", "give 1 as the smallest batch"
        raise BadInput(what, f"--batches {text}: people come one at a time, and goldens are run so", do)
    rtx = asked.runtime == "tensorrt_rtx"
    ignored = ("hardware_compatible", "version_compatible", "optimization_level") if rtx else ("targets",)
    for name in ignored:
        value = getattr(asked, name)
        if value is not None and value is not False:
            raise BadInput(f"{asked.runtime} does not honour --{name.replace('_', '-')}", asked.runtime, "leave it out")
    if asked.hardware_compatible and jetson():
        do = "leave it out: the engine is for this board only"
        raise BadInput("NVIDIA supports no hardware compatible engines on JetPack", str(jetson()), do)
    if asked.workspace_mib is not None and asked.workspace_mib < 1:
        raise BadInput("impossible workspace", f"--workspace-mib {asked.workspace_mib}", "give at least 1")
    workspace = usual["workspace_bytes"] if asked.workspace_mib is None else asked.workspace_mib << 20
    level = usual["optimization_level"] if asked.optimization_level is None else asked.optimization_level
    gpu, targets = None, () if asked.targets is None else tuple(part.strip() for part in asked.targets.split(","))
    if len(set(targets)) != len(targets) or not all(re.match(r"\d+\.\d$", target) for target in targets):
        raise BadInput("impossible targets", asked.targets, "give compute capabilities as in 8.6,8.9, each once")
    if not targets:
        try:
            gpu = first_gpu()
        except NotPossible as reason:
            do = "name GPUs with --targets" if rtx else reason.advice
            raise NotPossible(f"{asked.runtime} has no GPU to build for", reason.detail, do) from reason
        targets = (gpu.compute_capability,) if rtx else ()
    settings = BuilderSettings(
        workspace_bytes=workspace,
        optimization_level=level,
        hardware_compatible=asked.hardware_compatible,
        version_compatible=asked.version_compatible,
        targets=targets,
    )
    return gpu, BuildPlan(sizes, settings)


class Heartbeat:
    """Says on stderr what is being done, and every ten seconds for how long."""

    def __init__(self, what: str) -> None:
        self._what, self._done = what, threading.Event()

    def __enter__(self) -> None:
        print(f"building {self._what}", file=sys.stderr, flush=True)
        threading.Thread(target=self._beat, daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self._done.set()

    def _beat(self) -> None:
        started = time.monotonic()
        while not self._done.wait(EVERY_S):
            print(f"  … {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
