"""The deploy graph as a typed ONNX file that says what a consumer must know to use it."""

import json
import logging
import warnings
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnx_ir
import torch
from google.protobuf.message import DecodeError
from onnx_ir.passes import common as passes

from export.common.errors import CheckFailed
from export.common.interface import INPUT, OUTPUT
from export.graph.precision import reads_bytes
from export.graph.type_proof import OPSETS, Int8Proof, TypeProof, prove_types
from export.images.drawings import SHAPES_SEED, drawn_images
from export.model.architecture import Architecture
from export.model.joint_sets import joint_set
from export.model.network import ConvNeXtPose
from export.model.pose import CUBE_MM, MEAN, PIXEL_RANGE, STD, normalise

if TYPE_CHECKING:
    from torch.onnx import ONNXProgram


METADATA_SCHEMA = "1.0"
WEIGHTS_COMPARED = "bit for bit: those of the planned network, in the file's types"


@dataclass(frozen=True)
class TensorSpec:
    """One input or output; a free dimension goes by its name."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class OnnxRecord:
    """What was written."""

    opset: int
    ir_version: int
    nodes: dict[str, int]
    initializer_bytes: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    types: TypeProof
    weights: str
    """How the weights in it were compared with the network's."""
    int8: Int8Proof | None = None
    """How its quantised convolutions were; only an int8 file has any."""


def export_onnx(
    network: ConvNeXtPose,
    path: Path,
    metadata: Mapping[str, str],
    precision: str = "fp32",
    in_fp32: Collection[str] = (),
) -> OnnxRecord:
    """Write the graph ``network``, which has this precision already, to ``path`` and check the file.

    Args:
        network: in any of its forms.
        path: of the file.
        metadata: ``consumer_metadata``.
        precision: of the file.
        in_fp32: names of the convolutions that its plan keeps in FP32.

    Raises:
        CheckFailed: the file is not what was meant (``check_onnx`` says what it checks).
    """
    write_onnx(network, path, metadata, OPSETS[precision])
    return check_onnx(path, network, precision, in_fp32)


def write_onnx(network: ConvNeXtPose, path: Path, metadata: Mapping[str, str], opset: int = OPSETS["fp32"]) -> None:
    """Trace any form of the network and write it. Torch's exporter may still fold norms that it finds."""
    program = _trace(network, opset)
    model = program.model
    _name_nodes_by_module(model)
    for tidy in (
        passes.ClearMetadataAndDocStringPass(),  # stack traces with this machine's paths
        passes.DeduplicateInitializersPass(size_limit=2**63 - 1),  # layers may share their weights
        passes.RemoveUnusedNodesPass(),
        passes.TopologicalSortPass(),
    ):
        tidy(model)
    model.metadata_props.clear()
    model.metadata_props.update(metadata)
    proto = onnx_ir.to_proto(model)
    proto.ir_version = onnx.helper.find_min_ir_version_for(proto.opset_import)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(proto, path)


def check_onnx(path: Path, network: ConvNeXtPose, precision: str = "fp32", in_fp32: Collection[str] = ()) -> OnnxRecord:
    """See that the file is valid, has the agreed interface and types, and holds this network's weights, each once.

    Raises:
        CheckFailed: one of these does not hold; the message names the tensor.
    """
    model = load_checked(path)
    architecture = network.architecture
    edge = architecture.input_size
    inputs, outputs = _specs(model.graph.input), _specs(model.graph.output)
    image = TensorSpec(INPUT, "float32", ("batch", 3, edge, edge))
    if reads_bytes(network):
        image = TensorSpec(INPUT, "uint8", ("batch", edge, edge, 3))
    agreed = (
        (image,),
        (TensorSpec(OUTPUT, "float32", ("batch", architecture.joints, 3)),),
    )
    if (inputs, outputs) != agreed:
        raise _broken("its interface is not the agreed one", f"{inputs} → {outputs}")
    arrays = {i.name: onnx.numpy_helper.to_array(i) for i in model.graph.initializer}
    _check_weights(arrays, network)
    contents = Counter((a.dtype.str, a.shape, a.tobytes()) for a in arrays.values())
    twice = [name for name, a in arrays.items() if contents[a.dtype.str, a.shape, a.tobytes()] > 1]
    if twice:
        raise _broken("initializers stand in it twice", ", ".join(twice))
    return OnnxRecord(
        opset=next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx")),
        ir_version=model.ir_version,
        nodes=dict(sorted(Counter(node.op_type for node in model.graph.node).items())),
        initializer_bytes=sum(a.nbytes for a in arrays.values()),
        inputs=inputs,
        outputs=outputs,
        types=prove_types(model, precision, in_fp32),
        weights=WEIGHTS_COMPARED,
    )


def load_checked(path: Path) -> onnx.ModelProto:
    """The file, which ONNX's own checker takes.

    Raises:
        CheckFailed: the checker refuses it.
    """
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model, full_check=True)
    except (DecodeError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as error:
        raise _broken("the checker refuses it", str(error).strip().splitlines()[0]) from error
    return model


def consumer_metadata(architecture: Architecture, **about: str) -> dict[str, str]:
    """What turns the file's outputs into poses, as JSON texts under plain names; ``about`` is added."""
    joints = joint_set(architecture.joints)
    values: dict[str, Any] = {
        "schema_version": METADATA_SCHEMA,
        "joint_set": joints.name,
        "joint_names": joints.joints,
        "bones": joints.bones,
        "mirror_pairs": joints.mirror_pairs,
        "input_size": architecture.input_size,
        "heatmap_size": architecture.heatmap_size,
        "depth_dim": architecture.depth_dim,
        "cube_mm": CUBE_MM,
        "mean": MEAN,
        "std": STD,
        "pixel_range": PIXEL_RANGE,
        "channels": "RGB",
        "output": "x, y, z in bins",
    }
    return {k: v if isinstance(v, str) else json.dumps(v) for k, v in values.items()} | about


def read_metadata(path: Path) -> dict[str, Any]:
    """What ``consumer_metadata`` wrote, decoded."""
    texts = {p.key: p.value for p in onnx.load(path, load_external_data=False).metadata_props}
    return {key: _decoded(text) for key, text in texts.items()}


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _trace(network: ConvNeXtPose, opset: int) -> "ONNXProgram":
    """Torch's dynamo exporter with a free batch; its notices about what is not installed are dropped."""
    pixels = drawn_images(2, network.architecture.input_size, SHAPES_SEED)
    image = torch.from_numpy(pixels if reads_bytes(network) else normalise(pixels))
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                network,
                (image,),
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes={INPUT: {0: torch.export.Dim("batch")}},
                opset_version=opset,
                dynamo=True,
                verbose=False,
            )
    finally:
        log.setLevel(level)
    assert program is not None
    return program


def _name_nodes_by_module(model: onnx_ir.Model) -> None:
    """``backbone.stages.0.0.dwconv/Conv`` says more in a profile than ``node_conv2d_1``."""
    used: Counter[str] = Counter()
    for node in model.graph:
        scopes = json.loads(node.metadata_props.get("pkg.torch.onnx.name_scopes", "[]").replace("'", '"'))
        module = scopes[-2] if len(scopes) > 1 and scopes[-2] else "graph"
        name = f"{module}/{node.op_type}"
        used[name] += 1
        node.name = name if used[name] == 1 else f"{name}_{used[name]}"


def _check_weights(arrays: Mapping[str, np.ndarray[Any, Any]], network: ConvNeXtPose) -> None:
    """Every weight of the network stands in the file under its name, bit for bit and in its type."""
    weights = {name: _as_numpy(weight) for name, weight in network.named_parameters()}
    for name, array in arrays.items():
        if name in weights and not _equal(array, weights[name]):
            raise _broken("a weight is not the network's", name)
    stored = [name for name in weights if name in arrays]
    missing = [name for name, weight in weights.items() if name not in arrays and not _may_be_absent(weight, arrays)]
    if missing or not stored:
        raise _broken("weights are missing in it", ", ".join(missing[:4]) or "all of them")


def _may_be_absent(weight: np.ndarray[Any, Any], arrays: Mapping[str, np.ndarray[Any, Any]]) -> bool:
    """Equal tensors are stored once, under one of their names; a bias of zeros is left out of its convolution."""
    return not weight.any() or any(_equal(a, weight) for a in arrays.values())


def _equal(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> bool:
    return a.dtype == b.dtype and np.array_equal(a, b)


def _as_numpy(weight: torch.Tensor) -> np.ndarray[Any, Any]:
    """NumPy knows bfloat16 through ml_dtypes, as ONNX does."""
    if weight.dtype == torch.bfloat16:
        return weight.view(torch.uint16).numpy().view(onnx.helper.tensor_dtype_to_np_dtype(onnx.TensorProto.BFLOAT16))
    return weight.numpy()


def _specs(values: Any) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(
            value.name,
            str(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)),
            tuple(d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim),
        )
        for value in values
    )


def _broken(what: str, seen: str) -> CheckFailed:
    return CheckFailed(f"the exported ONNX file is wrong: {what}", seen, "this is a defect of the exporter; report it")
