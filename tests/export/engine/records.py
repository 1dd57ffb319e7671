"""A record as it stands beside an engine."""

from export.engine import build as engine
from export.engine.build import EngineRecord
from export.engine.layers import EngineLayers
from export.runtime.engine_network import Convolutions

RECORD = EngineRecord(
    schema_version=5,
    status="built for SM 8.9; not run",
    not_run="there is no NVIDIA driver",
    runtime="tensorrt_rtx",
    chosen="tensorrt_rtx is installed",
    package_version="1.7.1.116",
    built_on="Linux x86_64",
    gpu=None,
    targets=("8.9",),
    precision="fp32",
    layer_types={"CONVOLUTION": {"FLOAT": 65}},
    convolutions=Convolutions(65, 0),
    inspected=EngineLayers(2, {"CaskConvolution": {"fp32": 2}}, ()),
    not_inspected="",
    tf32=False,
    profile=engine.Profile("image", (1, 3, 256, 256), (1, 3, 256, 256), (8, 3, 256, 256)),
    workspace_bytes=1 << 30,
    optimization_level=3,
    timing_cache=None,
    hardware_compatible=False,
    version_compatible=False,
    build_seconds=0.5,
    size_bytes=31_648_260,
    weight_bytes=None,
    scratch_bytes=64_800_000,
    activation_bytes=None,
    warnings=("a warning",),
    onnx_sha256="0" * 64,
    engine_sha256="1" * 64,
    engine_reproducible=False,
    plan_magic="vtrt",
    plan_version="1.7.1.116",
)
