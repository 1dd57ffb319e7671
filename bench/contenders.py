"""The models of one folder that are judged together: the reference first."""

from typing import Any

from numpy.typing import NDArray

from bench.backends.protocol import Joints
from bench.evaluation import Contender
from bench.exported import PYTORCH, ExportFolder, open_backend
from export.errors import BadInput
from export.interface import precision_of
from export.runners import Runner, judges


class Judge:
    """One of ``export.runners``."""

    def __init__(self, runner: Runner, runtime: str, edition: str) -> None:
        self.runtime = runtime
        self.precision = precision_of(edition)
        self.takes_pixels = edition != self.precision
        self._runner = runner

    def run(self, images: NDArray[Any]) -> Joints:
        """See ``Backend``."""
        return self._runner.run(images)

    def describe(self) -> str:
        """See ``Backend``."""
        return self._runner.describe()

    def close(self) -> None:
        """See ``Backend``."""


def open_contenders(exported: ExportFolder, editions: str | None, *, reference: bool) -> list[Contender]:
    """Load the reference, and every ONNX file of these editions (separated by commas; None: all of them).

    A file is run by everything that its parity is judged with: a runtime may compute in another type than the
    file's, and then only its simulation tells what the precision costs on a device that has it.

    Raises:
        BadInput: an edition of which there is no file.
    """
    asked = exported.editions if editions is None else exported.chosen(editions)
    contenders = []
    if reference:
        contenders.append(Contender(open_backend(exported, PYTORCH, "fp32"), None, is_reference=True))
    for edition in asked:
        artifact = exported.onnx(edition)
        for load in judges(precision_of(edition))[0]:
            runner = load(exported.path / artifact.path)
            contenders.append(Contender(Judge(runner, runner.name, edition), artifact.sha256))
    if not contenders:
        seen = "no ONNX file in the folder, and no reference asked for"
        raise BadInput("there is nothing to evaluate", seen, f"export {exported.manifest.model} first")
    return contenders
