"""Choice of the file in a folder of checkpoints whose content fits a model.

This module imports no torch until a file must be read: most exports have no checkpoint to look for.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from export.checkpoint.containers import has_checkpoint_head
from export.checkpoint.folder_search import FolderSearch, claims_to_be_checkpoint, search_folder
from export.checkpoint.released_files import NO_NAME, NameRank, models_named, name_rank
from export.common.errors import BadInput
from export.common.plain import shorten
from export.model.config import ModelConfig, declared_models, load_config

if TYPE_CHECKING:
    from export.checkpoint.evidence import Evidence


@dataclass(frozen=True)
class ReadFile:
    """A checkpoint that could be read, and does not contradict itself."""

    path: Path
    names: tuple[str, ...]
    sha256: str
    evidence: "Evidence"

    @cached_property
    def equal_models(self) -> tuple[str, ...]:
        """The declared models that the content equals."""
        return tuple(name for name in declared_models() if self.evidence.fits(load_config(name).architecture))


class WeightsFolder:
    """A folder of released checkpoints, such as ``weights/``. It is read when it is first needed."""

    def __init__(self, path: Path = Path("weights"), *, required: bool = False) -> None:
        """Remember the folder.

        Args:
            path: the folder, or a link to one.
            required: True if the user named it; then a model without a file is an error.
        """
        self.path, self.required = path, required

    @cached_property
    def search(self) -> FolderSearch:
        """The files below the folder.

        Raises:
            BadInput: the user named it, and it is no folder.
        """
        if os.path.isdir(self.path):
            return search_folder(self.path)
        if self.required:
            value = "a file" if self.path.is_file() else "no such folder"
            raise BadInput(f"cannot search {self.path}", value, "name a folder of checkpoints, or use --checkpoint")
        return FolderSearch(self.path, (), 0, complete=True)

    @cached_property
    def files(self) -> tuple[ReadFile, ...]:
        """The checkpoints in the folder."""
        candidates = [path for path in self.search.paths if has_checkpoint_head(path)]
        return tuple(file for path in candidates if (file := _read(path, self.search.names(path))) is not None)

    def find(self, config: ModelConfig) -> Path | None:
        """Return the file whose content fits the model; names decide only between files that fit.

        A file that fits no other declared model comes first. If none fits, a file with a released name is taken: it is
        damaged, or its network was changed.

        Raises:
            BadInput: several different files fit and none has the model's name; a file with its name is another
                declared model; the user named the folder, and it has no file for the model.
        """
        fitting = [file for file in self.files if _fits(config, file)]
        if fitting:
            only = [file for file in fitting if config.accepted_models.issuperset(file.equal_models)]
            return self._choose(config, only or fitting)
        path = self._by_name(config)
        if path is None and self.required:
            equal = sorted({name for file in self.files for name in file.equal_models}, key=declared_models().index)
            value = f"{len(self.files)} checkpoints that can be read; they equal {', '.join(equal) or 'no model'}"
            advice = f"see `convnextpose inspect {self.path}`, or name a file with --checkpoint"
            raise BadInput(f"no file in {self.path} fits {config.name}", value, advice)
        return path

    def _choose(self, config: ModelConfig, files: Sequence[ReadFile]) -> Path:
        """Return the file with the likeliest name; copies with the same bytes are one file."""
        ranks = {file.path: name_rank(file.names, config.files) or NO_NAME for file in files}
        best = [file for file in files if ranks[file.path] == min(ranks.values())]
        if len({file.sha256 for file in best}) > 1:
            raise self._ambiguous(config, [file.path for file in best])
        return best[0].path

    def _by_name(self, config: ModelConfig) -> Path | None:
        """Return the file with a released name, or its only copy, though its content does not fit."""
        read = {file.path: file for file in self.files}
        ranks: dict[Path, NameRank] = {}
        for path in self.search.paths:
            names = self.search.names(path) if claims_to_be_checkpoint(path) else (path.name,)
            rank = name_rank(names, config.files)
            equal = read[path].equal_models if path in read else ()
            if rank is not None and not set(equal) & set(models_named(names)):  # otherwise it is that model's file
                ranks[path] = rank
        if not ranks:
            return None
        best = min(ranks, key=lambda path: ranks[path])
        if ranks[best].is_copy and len(ranks) > 1:
            raise self._ambiguous(config, sorted(ranks))
        if equal := read[best].equal_models if best in read else ():
            value = f"its content equals {' and '.join(equal)}"
            advice = "get the right file, or name this one with --checkpoint to use it nevertheless"
            raise BadInput(f"{best} is not {config.name}, although it has its name", value, advice)
        return best

    def _ambiguous(self, config: ModelConfig, paths: Sequence[Path]) -> BadInput:
        names = ", ".join(repr(shorten(str(path.relative_to(self.path)))) for path in paths[:8])
        rename = f", or rename it to {config.files[0]}" if config.files else ""
        problem = f"several files in {self.path} may be the weights of {config.name}"
        return BadInput(problem, names, f"choose one with --checkpoint (make: CHECKPOINT=){rename}")


def _read(path: Path, names: tuple[str, ...]) -> ReadFile | None:
    from export.checkpoint.evidence import read_evidence
    from export.checkpoint.loading import read_checkpoint

    try:
        checkpoint = read_checkpoint(path)
        evidence = read_evidence(checkpoint)
    except BadInput:
        return None
    return None if evidence.problems else ReadFile(path, names, checkpoint.sha256, evidence)


def _fits(config: ModelConfig, file: ReadFile) -> bool:
    accepted = [config] + ([load_config(config.alternative.model)] if config.alternative else [])
    return any(file.evidence.fits(declared.architecture) for declared in accepted)
