"""``build.sh``: the recipe's ``trtexec`` commands, for devices without TensorRT's Python package."""

import shlex
from collections.abc import Iterator

from export.bundle.contents import Contents
from export.engine_plan import EnginePlan
from export.recipe import MAJORS, recipe_of

HEAD = """\
#!/bin/sh
# Builds this bundle's engines with trtexec, every switch explicit: ./build.sh [FOLDER]
#
# For programs of your own, or of cpp/. The runtime and verify.py use engines that build.py built, since only those have
# a record of their making. trtexec comes with TensorRT's packages; JetPack keeps it in /usr/src/tensorrt/bin.
# TRTEXEC=path names another; TENSORRT_MAJOR=10 or 11 is for one that does not say its version.
set -eu
bundle=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
out=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/pose_runtime/trtexec}
trtexec=${TRTEXEC:-$(command -v trtexec || echo /usr/src/tensorrt/bin/trtexec)}
if [ ! -x "$trtexec" ]; then
    echo "error: trtexec is not installed" >&2
    echo "seen:  no $trtexec" >&2
    echo "do:    install TensorRT's packages, or name it: TRTEXEC=path ./build.sh" >&2
    exit 4
fi
if [ -z "${TENSORRT_MAJOR:-}" ]; then
    # It says "[TensorRT v100300]" for 10.3.0.
    number=$("$trtexec" --help 2>&1 | sed -n 's/.*\\[TensorRT v\\([0-9]*\\)\\].*/\\1/p' | head -n 1)
    TENSORRT_MAJOR=$((${number:-0} / 10000))
fi
mkdir -p "$out/engines"
cd "$out"
ln -sfn "$bundle/onnx" onnx
"""

TAIL = """\
    *)
        echo "error: this recipe knows TensorRT @MAJORS@" >&2
        echo "seen:  major version $TENSORRT_MAJOR" >&2
        echo "do:    say which it is: TENSORRT_MAJOR=10 ./build.sh" >&2
        exit 4
        ;;
esac
"""


def build_script(contents: Contents, plan: EnginePlan) -> str:
    """The script; it checks each ONNX file's hash before it builds from it.

    Raises:
        BadInput: the batch of a file is fixed, and not the plan's.
    """
    return "\n".join(_lines(contents, plan)) + "\n"


def _lines(contents: Contents, plan: EnginePlan) -> Iterator[str]:
    recipe = recipe_of(contents.manifest.model_copy(update={"artifacts": list(contents.onnx)}), plan)
    yield HEAD.rstrip()
    for model in recipe.models:
        yield f"echo {shlex.quote(f'{model.onnx_sha256}  {model.onnx}')} | sha256sum --check"
    yield 'case "$TENSORRT_MAJOR" in'
    for major in MAJORS:
        yield f"    {major})"
        for model in recipe.models:
            program, *switches = model.trtexec[str(major)]
            assert program == "trtexec"
            yield f'        "$trtexec" {shlex.join(switches)}'
        yield "        ;;"
    yield TAIL.replace("@MAJORS@", " and ".join(map(str, MAJORS))).rstrip()
