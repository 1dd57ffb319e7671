#!/usr/bin/env python3
"""Build this bundle's engines on this device: ``python3 build.py [--precision fp16]``.

TensorRT tunes on the GPU that it builds for, which takes minutes. Engines are stored outside of the bundle, in this
user's cache folder, each with a record. The runtime and the verifier load no other engines that were built here.
"""

import sys

if __name__ == "__main__":
    import os  # Python has loaded it already

    folder = os.path.dirname(os.path.realpath(__file__))
    # A file in this folder must not replace a module of Python's, not even __future__, also where PYTHONPATH names this
    # folder; and compiled files must not run in place of their sources.
    sys.path[:] = [entry for entry in sys.path if os.path.realpath(entry or os.curdir) != folder]
    sys.dont_write_bytecode, sys.pycache_prefix = True, os.devnull

import argparse
import importlib.util
import re
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator, List, Optional, Tuple

FOLDER = Path(__file__).resolve().parent
_spec = importlib.util.spec_from_file_location("verify", str(FOLDER / "verify.py"))
assert _spec is not None
assert _spec.loader is not None
_verifier = importlib.util.module_from_spec(_spec)  # by its path: PYTHONPATH may lead to another module of this name
_spec.loader.exec_module(_verifier)

PROGRESS_S = 10.0


def main(arguments: Optional[List[str]] = None) -> int:
    """Build as the command line says; return the exit code."""
    return int(_verifier.run_program(lambda: build(argument_parser().parse_args(arguments))))


def argument_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="build.py", description=(__doc__ or "").split("\n\n")[0])
    add = parser.add_argument
    add("--runtime", default="tensorrt", choices=("tensorrt", "tensorrt_rtx"))
    add("--precision", default="all", help="comma-separated precisions: fp32, fp16, bf16, int8 (default: all)")
    add("--batches", metavar="MIN,OPT,MAX", help="batch sizes that an engine takes")
    add("--workspace-mib", type=int, help="scratch memory that an engine may use")
    add("--targets", metavar="8.6,8.9", help="compute capabilities (TensorRT-RTX only; default: this GPU's)")
    return parser


def build(options: argparse.Namespace) -> int:
    """Build and store the engines; return the exit code.

    Raises:
        Failure: the bundle was changed, an option is wrong, or an engine cannot be built.
    """
    _verifier.refuse_changed(FOLDER)
    _verifier.require_numpy()
    from pose_runtime.builder import build_engine
    from pose_runtime.bundle import Bundle
    from pose_runtime.engine_cache import prepare_cache, store_engine
    from pose_runtime.runtime.engine_file import PRODUCTS
    from pose_runtime.runtime.registry import load_library

    bundle, product = Bundle(FOLDER), PRODUCTS[options.runtime]
    names = tuple(dict.fromkeys(part.strip() for part in options.precision.split(",")))
    entries = [bundle.onnx(name) for name in (bundle.precisions if options.precision == "all" else names)]
    batches = parse_batches(options.batches, bundle.manifest["build"]["batches"])
    gpu, settings = parse_settings(options, bundle.manifest["build"])
    trt = load_library(options.runtime)
    prepare_cache()
    for entry in entries:
        with heartbeat(f"building {entry['path']} with {product.name} {trt.__version__}"):
            model = bundle.content(entry["path"])
            content, record = build_engine(trt, product, model, entry, batches, settings, gpu)
        path = store_engine(content, {**record, "model": bundle.manifest["model"]})
        print(f"{path}: {entry['precision']}, {len(content) / 1e6:.1f} MB, in {record['build_seconds']:.1f} s")
    return 0


def parse_batches(text: Optional[str], default: List[int]) -> Tuple[int, ...]:
    """Return smallest, usual and largest batch.

    Raises:
        BadInput: they are impossible, or exclude single images.
    """
    from pose_runtime.runtime.errors import BadInput

    text = text or ",".join(map(str, default))
    parts = text.split(",")
    sizes = tuple(int(part) for part in parts if part.strip().isdigit())
    if len(parts) != 3 or len(sizes) != 3 or not 1 <= sizes[0] <= sizes[1] <= sizes[2]:
        raise BadInput("impossible batches", text, "give MIN,OPT,MAX with 1 <= MIN <= OPT <= MAX")
    if sizes[0] != 1:
        problem, advice = "a bundle's engines must take one image", "give 1 as the smallest batch"
        raise BadInput(problem, f"--batches {text}: people come one at a time, and so do goldens", advice)
    return sizes


def parse_settings(options: argparse.Namespace, default: Any) -> Tuple[Any, Any]:
    """Return the GPU (None: compiled ahead of time for others) and the builder's settings.

    Args:
        options: of the command line.
        default: the manifest's settings, where the command line says nothing.

    Raises:
        BadInput: a value that the builder would not honour.
        NotPossible: there is no GPU to build for.
    """
    from pose_runtime.runtime.engine_builder import BuilderSettings
    from pose_runtime.runtime.errors import BadInput, NotPossible
    from pose_runtime.runtime.gpu import first_gpu

    rtx = options.runtime == "tensorrt_rtx"
    if options.targets is not None and not rtx:
        raise BadInput(f"{options.runtime} does not honour --targets", options.targets, "leave it out")
    if options.workspace_mib is not None and options.workspace_mib < 1:
        raise BadInput("impossible workspace", f"--workspace-mib {options.workspace_mib}", "give at least 1")
    targets = () if options.targets is None else tuple(part.strip() for part in options.targets.split(","))
    if len(set(targets)) != len(targets) or not all(re.match(r"\d+\.\d$", target) for target in targets):
        raise BadInput("impossible targets", options.targets, "give compute capabilities as in 8.6,8.9, each once")
    gpu = None
    if not targets:
        try:
            gpu = first_gpu()
        except NotPossible as reason:
            advice = "name GPUs with --targets" if rtx else reason.advice
            raise NotPossible(f"{options.runtime} has no GPU to build for", reason.detail, advice) from reason
        targets = (gpu.compute_capability,) if rtx else ()
    workspace = default["workspace_bytes"] if options.workspace_mib is None else options.workspace_mib << 20
    return gpu, BuilderSettings(workspace, default["optimization_level"], targets=targets)


@contextmanager
def heartbeat(title: str) -> Iterator[None]:
    """Print a title on stderr, and every ten seconds the time since then."""
    done, start = threading.Event(), time.monotonic()

    def tick() -> None:
        while not done.wait(PROGRESS_S):
            print(f"  … {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)

    print(title, file=sys.stderr, flush=True)
    threading.Thread(target=tick, daemon=True).start()
    try:
        yield
    finally:
        done.set()


if __name__ == "__main__":
    sys.exit(main())
