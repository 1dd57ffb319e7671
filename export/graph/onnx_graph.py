"""Writing and checking of the deploy graph as a typed ONNX file with metadata for its consumers."""

import json
import logging
import warnings
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnx_ir
import torch
from google.protobuf.message import DecodeError
from onnx_ir.passes import common as passes

from export.common.interface import INPUT, OUTPUT
from export.graph.onnx_record import OnnxRecord, TensorSpec
from export.graph.precision import reads_bytes
from export.graph.type_proof import OPSETS, file_defect, prove_types
from export.model.architecture import Architecture
from export.model.joint_sets import joint_set
from export.model.network import ConvNeXtPose
from export.runtime.pose import CUBE_MM, MEAN, PIXEL_RANGE, STD

if TYPE_CHECKING:
    from torch.onnx import ONNXProgram

METADATA_SCHEMA = "1.0"
WEIGHTS_COMPARED = "bit for bit: those of the planned network, in the file's types"


def export_onnx(
    network: ConvNeXtPose,
    path: Path,
    metadata: Mapping[str, str],
    precision: str = "fp32",
    in_fp32: Collection[str] = (),
) -> OnnxRecord:
    """Write ``network``, which is already in this precision, as an ONNX file and check the file.

    Raises:
        CheckFailed: the file fails ``check_onnx``.
    """
    write_onnx(network, path, metadata, OPSETS[precision])
    return check_onnx(path, network, precision, in_fp32)


def write_onnx(network: ConvNeXtPose, path: Path, metadata: Mapping[str, str], opset: int = OPSETS["fp32"]) -> None:
    """Trace any form of the network and write it as ONNX. Torch's exporter may fold remaining norms."""
    program = _trace(network, opset)
    model = program.model
    _name_nodes_by_module(model)
    for clean in (
        passes.ClearMetadataAndDocStringPass(),  # stack traces with this machine's paths
        passes.DeduplicateInitializersPass(size_limit=2**63 - 1),  # layers may share their weights
        passes.RemoveUnusedNodesPass(),
        passes.TopologicalSortPass(),
    ):
        clean(model)
    model.metadata_props.clear()
    model.metadata_props.update(metadata)
    proto = onnx_ir.to_proto(model)
    proto.ir_version = onnx.helper.find_min_ir_version_for(proto.opset_import)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(proto, path)


def check_onnx(path: Path, network: ConvNeXtPose, precision: str = "fp32", in_fp32: Collection[str] = ()) -> OnnxRecord:
    """Check that a file is valid, has the agreed interface and types, and contains this network's weights once each.

    Raises:
        CheckFailed: a check fails; the message names the tensor.
    """
    model = load_checked(path)
    architecture = network.architecture
    edge = architecture.input_size
    inputs, outputs = _specs(model.graph.input), _specs(model.graph.output)
    image = TensorSpec(INPUT, "float32", ("batch", 3, edge, edge))
    if reads_bytes(network):
        image = TensorSpec(INPUT, "uint8", ("batch", edge, edge, 3))
    joints = TensorSpec(OUTPUT, "float32", ("batch", architecture.joints, 3))
    if (inputs, outputs) != ((image,), (joints,)):
        raise file_defect("its interface is not the agreed one", f"{inputs} → {outputs}")
    arrays = {i.name: onnx.numpy_helper.to_array(i) for i in model.graph.initializer}
    _check_weights(arrays, network)
    contents = Counter((a.dtype.str, a.shape, a.tobytes()) for a in arrays.values())
    repeated = [name for name, a in arrays.items() if contents[a.dtype.str, a.shape, a.tobytes()] > 1]
    if repeated:
        raise file_defect("it contains initializers twice", ", ".join(repeated))
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
    """Load a file and run ONNX's checker on it.

    Raises:
        CheckFailed: the checker refuses the file.
    """
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model, full_check=True)
    except (DecodeError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as error:
        raise file_defect("the checker refuses it", str(error).strip().splitlines()[0]) from error
    return model


def consumer_metadata(architecture: Architecture, **about: str) -> dict[str, str]:
    """Return the metadata that turn outputs into poses, as JSON texts by name; ``about`` is added."""
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
    """Return a file's metadata, decoded from JSON."""
    texts = {p.key: p.value for p in onnx.load(path, load_external_data=False).metadata_props}
    return {key: _decode(text) for key, text in texts.items()}


def _decode(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _trace(network: ConvNeXtPose, opset: int) -> "ONNXProgram":
    """Trace with torch's dynamo exporter and a free batch; suppress its notices about missing packages."""
    size = network.architecture.input_size
    of_bytes = reads_bytes(network)
    shape = (2, size, size, 3) if of_bytes else (2, 3, size, size)
    image = torch.zeros(shape, dtype=torch.uint8 if of_bytes else torch.float32)
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
    """Rename nodes after their modules for profiles: ``backbone.stages.0.0.dwconv/Conv``, not ``node_conv2d_1``."""
    used: Counter[str] = Counter()
    for node in model.graph:
        scopes = json.loads(node.metadata_props.get("pkg.torch.onnx.name_scopes", "[]").replace("'", '"'))
        module = scopes[-2] if len(scopes) > 1 and scopes[-2] else "graph"
        name = f"{module}/{node.op_type}"
        used[name] += 1
        node.name = name if used[name] == 1 else f"{name}_{used[name]}"


def _check_weights(arrays: Mapping[str, np.ndarray[Any, Any]], network: ConvNeXtPose) -> None:
    """Check that the file contains every weight of the network by its name, bit for bit and in its type."""
    weights = {name: _as_numpy(weight) for name, weight in network.named_parameters()}
    for name, array in arrays.items():
        if name in weights and not _equal(array, weights[name]):
            raise file_defect("a weight differs from the network's", name)
    missing = [name for name, weight in weights.items() if name not in arrays and not _is_optional(weight, arrays)]
    if missing or not weights.keys() & arrays.keys():
        raise file_defect("weights are missing in it", ", ".join(missing[:4]) or "all of them")


def _is_optional(weight: np.ndarray[Any, Any], arrays: Mapping[str, np.ndarray[Any, Any]]) -> bool:
    """Return whether a weight may be missing: a bias of zeros, or a tensor equal to another."""
    return not weight.any() or any(_equal(a, weight) for a in arrays.values())


def _equal(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> bool:
    return a.dtype == b.dtype and np.array_equal(a, b)


def _as_numpy(weight: torch.Tensor) -> np.ndarray[Any, Any]:
    """Convert a tensor; bfloat16 becomes ml_dtypes' type, as in ONNX."""
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
