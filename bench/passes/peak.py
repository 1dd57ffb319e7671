"""Peak rate of matrix products on this machine, which the parts of a network are compared with.

Processors are best at products of two square matrices, so their rate is the limit in practice. It is measured in the
compared libraries with as many threads. It is no theoretical figure: another library, or a shape that fits a processor
better, may be somewhat faster.
"""

import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

from bench.machine.system import cpu_has_bfloat16
from export.common.interface import INPUT, OUTPUT

SIZES = (512, 1024, 2048)
SECONDS, LEAST_RUNS = 0.3, 3
"""For each product."""

Peak = dict[str, Any]


def measure_peaks(threads: int) -> list[Peak]:
    """Return ``precision``, ``library``, ``size``, ``gflops`` (the fastest run) and ``runs`` of every product.

    A product has 2·n³ operations: a multiplication and an addition count as two, in int8 too.
    """
    peaks = []
    for size in SIZES:
        for precision, library, product in _products(size, threads):
            seconds = _seconds(product)
            gflops = 2 * size**3 / min(seconds) / 1e9
            peak = {"precision": precision, "library": library, "size": size, "gflops": gflops, "runs": len(seconds)}
            peaks.append(peak)
    return peaks


def _seconds(product: Callable[[], object]) -> list[float]:
    product()
    durations: list[float] = []
    began = time.perf_counter()
    while len(durations) < LEAST_RUNS or time.perf_counter() - began < SECONDS:
        started = time.perf_counter()
        product()
        durations.append(time.perf_counter() - started)
    return durations


def _products(size: int, threads: int) -> Iterator[tuple[str, str, Callable[[], object]]]:
    yield from _torch_products(size, threads)
    if find_spec("onnxruntime") is not None:
        yield "fp32", "onnxruntime", _onnx_product("MatMul", size, threads)
        yield "int8", "onnxruntime", _onnx_product("MatMulInteger", size, threads)


def _torch_products(size: int, threads: int) -> Iterator[tuple[str, str, Callable[[], object]]]:
    import torch

    torch.set_num_threads(threads)
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(size, size, generator=generator) for _ in range(2))
    yield "fp32", "torch", lambda: a @ b
    if cpu_has_bfloat16():  # an emulated product is no limit
        half_a, half_b = a.bfloat16(), b.bfloat16()
        yield "bf16", "torch", lambda: half_a @ half_b


def _onnx_product(operator: str, size: int, threads: int) -> Callable[[], object]:
    """Return a product float32 × float32 → float32, or uint8 × int8 → int32; the second matrix is constant."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    from export.runtime.onnx_runtime import open_session, session_options

    generator = np.random.default_rng(0)
    a, b = (generator.integers(0, 100, (size, size)) for _ in range(2))
    if operator == "MatMul":
        kinds, arrays = (TensorProto.FLOAT, TensorProto.FLOAT), (a.astype(np.float32), b.astype(np.float32))
    else:
        kinds, arrays = (TensorProto.UINT8, TensorProto.INT32), (a.astype(np.uint8), b.astype(np.int8))
    graph = helper.make_graph(
        [helper.make_node(operator, [INPUT, "weights"], [OUTPUT])],
        "product",
        [helper.make_tensor_value_info(INPUT, kinds[0], [size, size])],
        [helper.make_tensor_value_info(OUTPUT, kinds[1], [size, size])],
        [numpy_helper.from_array(arrays[1], "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = open_session(model.SerializeToString(), session_options(threads))
    return lambda: session.run(None, {INPUT: arrays[0]})
