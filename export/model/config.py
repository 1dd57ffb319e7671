"""Declared models: the architecture in a configuration, and the claims of each source.

A declaration is only the starting point; the weights of a checkpoint overrule it.
"""

import difflib
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints, ValidationError, model_validator

from export.common.errors import BadInput
from export.common.files import PROJECT
from export.common.records import Record
from export.common.yaml_file import problems, read_yaml
from export.model.architecture import BACKBONES, HEAD_LAYERS, Architecture, cubic_upsamplings

CONFIG_FOLDER = PROJECT / "configs"

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Count = Annotated[int, Field(strict=True, ge=1, le=4096)]
Stages = Annotated[tuple[Count, ...], Field(min_length=4, max_length=4)]
HeadChannels = Annotated[tuple[Count, ...], Field(min_length=HEAD_LAYERS, max_length=HEAD_LAYERS)]
HeadKernels = Annotated[tuple[Literal[3, 5, 7], ...], Field(min_length=HEAD_LAYERS, max_length=HEAD_LAYERS)]
Upsamplings = Annotated[int, Field(ge=0, le=HEAD_LAYERS)]


def _multiple_of_64(size: int) -> int:
    if size % 64:
        raise ValueError("must be a multiple of 64, so that the last stage's map has an even edge")
    return size


InputSize = Annotated[int, Field(ge=64, le=1024), AfterValidator(_multiple_of_64)]
Figure = Annotated[str, StringConstraints(pattern=r"^\d+(\.\d+)?M?$")]
"""A number as it was printed, such as 7.45M: its digits tell its precision."""


SourceName = Literal["note's text", "note's table", "repository's documentation", "paper", "public copy"]


class Claim(Record):
    """Claims of one source about one model: never used to build, only checked."""

    source: SourceName
    words: str
    """The source's words, or where to find them."""
    backbone: str | None = None
    depths: Stages | None = None
    dims: Stages | None = None
    head_channels: HeadChannels | None = None
    joints: Count | None = None
    depth_dim: Count | None = None
    upsamplings: Upsamplings | None = None
    parameters: Figure | None = None
    gflops: Figure | None = None
    mpjpe_mm: Figure | None = None
    pa_mpjpe_mm: Figure | None = None

    def values(self) -> dict[str, Any]:
        """Return field → claimed value for the fields that the source mentions."""
        return {name: value for name, value in self if name not in ("source", "words") and value is not None}


class Alternative(Record):
    """Another declared model that a source publishes under this model's name."""

    model: Name
    source: SourceName


class ModelConfig(Record):
    """One declared model."""

    name: Name
    backbone: str
    depths: Stages
    dims: Stages
    head_channels: HeadChannels
    head_kernels: HeadKernels
    joints: Count
    depth_dim: Count
    upsamplings: Upsamplings | None = None
    """None: the number that makes the volume a cube."""
    input_size: InputSize = 256
    alternative: Alternative | None = None
    """A checkpoint that equals it is as declared, too."""
    files: tuple[str, ...] = ()
    """Names of the released checkpoint, likeliest first; they decide where content does not."""
    demo: str | None = None
    """Path of this project's demo checkpoint in its repository, used if there is no other."""
    demo_head: str | None = None
    """Head tensors (safetensors) that replace those of ``demo`` for one more upsampling."""
    grown_from: str | None = None
    """A declared model with a ``demo``; without a checkpoint, this model is grown from it (``export.synthetic``)."""
    claims: tuple[Claim, ...] = ()

    @model_validator(mode="after")
    def _check_backbone(self) -> "ModelConfig":
        known = BACKBONES.get(self.backbone)
        if known is not None and known != (self.depths, self.dims):
            raise ValueError(f"backbone {self.backbone} has depths {known[0]} and dims {known[1]}")
        return self

    @model_validator(mode="after")
    def _check_map_size(self) -> "ModelConfig":
        if self.upsampling_count is None:
            raise ValueError(f"no upsampling count makes a cube of depth_dim {self.depth_dim}; declare upsamplings")
        return self

    @property
    def upsampling_count(self) -> int | None:
        """The declared number of upsamplings, or the one that makes the volume a cube; None if there is none."""
        return self.upsamplings if self.upsamplings is not None else cubic_upsamplings(self.depth_dim, self.input_size)

    @property
    def accepted_models(self) -> set[str]:
        """The declared models that a checkpoint may equal: this one and its alternative."""
        return {self.name, self.alternative.model} if self.alternative else {self.name}

    @property
    def architecture(self) -> Architecture:
        """The network as declared."""
        values = {field.name: getattr(self, field.name) for field in fields(Architecture)}
        return Architecture(**(values | {"upsamplings": self.upsampling_count}))


def declared_models() -> list[str]:
    """Return the names of the models that this project declares, smallest first."""
    names = {path.stem for path in CONFIG_FOLDER.glob("*.yaml")}
    order = ["XS-atto", "XS", "S", "M", "L"]
    return [n for n in order if n in names] + sorted(names - set(order))


def load_config(model: str) -> ModelConfig:
    """Load a declared model by its name, or a user's configuration by its path.

    Raises:
        BadInput: the model or file does not exist, is not YAML, or a field is wrong, missing or unknown.
    """
    path = Path(model)
    if path.suffix not in (".yaml", ".yml"):
        path = CONFIG_FOLDER / f"{model}.yaml"
        if model not in declared_models():
            raise _unknown_model(model)
    document = read_yaml(path, "configuration")
    try:
        return ModelConfig.model_validate(document)
    except ValidationError as error:
        detail, advice = problems(error, "model"), "compare it with configs/L.yaml"
        raise BadInput(f"{path} is not a model configuration", detail, advice) from error


def _unknown_model(model: str) -> BadInput:
    names = declared_models()
    by_folded = {n.casefold(): n for n in names}
    near = difflib.get_close_matches(model.casefold(), by_folded, n=1, cutoff=0.4)
    suggestion = f"did you mean {by_folded[near[0]]}? " if near else ""
    return BadInput(
        "unknown model",
        f"{model!r}; declared are {', '.join(names)}",
        f"{suggestion}Name one of them, or the path of your own .yaml file",
    )
