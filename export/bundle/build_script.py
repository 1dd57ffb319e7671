"""``build.sh``: the recipe's ``trtexec`` commands, for devices without TensorRT's Python package.

POSIX shell, to be called by ``sh``: some programs that unpack an archive drop the right to execute a file.
"""

import shlex
from collections.abc import Sequence

from export.bundle.contents import Contents
from export.bundle.text import fill_template
from export.engine.plan import EnginePlan
from export.pipeline.recipe import MAJORS, ModelRecipe, recipe_of

ABOUT = """\
# Builds this bundle's engines with trtexec, every setting explicit: sh build.sh [fp16 int8 …]
#
# Without a precision it builds all of them. If one cannot be built, the others still are. OUT=folder names the output
# folder; the default is none of the runtime's own folders, in which nobody else may write.
#
# The engines are for programs of your own, or of cpp/. The runtime and verify.py use engines that build.py built, since
# only those have a record of their source. trtexec comes with TensorRT's packages; JetPack has it in
# /usr/src/tensorrt/bin. TRTEXEC=path names another; TENSORRT_MAJOR=10 or 11 is for one that prints no version."""
PLACE = """\
out=${OUT:-${XDG_CACHE_HOME:-${HOME:?set HOME, or OUT, to a folder that you may write}/.cache}/pose_trtexec}
mkdir -p "$out/engines"
cd "$out"
rm -f onnx
ln -s "$folder/onnx" onnx"""


def build_script(contents: Contents, plan: EnginePlan) -> str:
    """Return the script of a bundle.

    Raises:
        BadInput: the batch of a file is fixed, and differs from the plan's.
    """
    return trtexec_script("build.sh", ABOUT, PLACE, [recipe_of(onnx, plan) for onnx in contents.onnx])


def trtexec_script(name: str, about: str, place: str, models: Sequence[ModelRecipe]) -> str:
    """Return a shell script that builds an engine from each ONNX file, after comparing the files' hashes.

    Args:
        name: of the script.
        about: its first comment.
        place: shell commands that prepare and enter the folder of the recipes' paths; ``$folder`` is the script's.
        models: recipes with the files, hashes and commands.
    """
    checks = [f"echo {shlex.quote(f'{model.artifact.sha256}  {model.onnx}')} | sha256sum --check" for model in models]
    commands = [
        f'        "{major} {model.plan.precision}") "$trtexec" {shlex.join(model.build(major)[1:])} ||\n'
        f'            failed="$failed {model.plan.precision}" ;;'
        for major in MAJORS
        for model in models
    ]
    values = {
        "SCRIPT": name,
        "ABOUT": about,
        "PLACE": place,
        "PRECISIONS": " ".join(model.plan.precision for model in models),
        "MAJORS": " | ".join(map(str, MAJORS)),
        "CHECKS": "\n".join(checks),
        "COMMANDS": "\n".join(commands),
    }
    return fill_template("build.sh", values)
