"""``build.sh``: the recipe's ``trtexec`` commands, for devices without TensorRT's Python package.

POSIX shell, and called by ``sh``: not everything that unpacks an archive keeps the right to execute a file.
"""

import shlex
from collections.abc import Iterable, Iterator, Sequence

from export.bundle.contents import Contents
from export.engine_plan import EnginePlan
from export.recipe import MAJORS, recipe_of

HEAD = """\
#!/bin/sh
# Builds this bundle's engines with trtexec, every switch explicit: sh build.sh [FOLDER]
#
# For programs of your own, or of cpp/. The runtime and verify.py use engines that build.py built, since only those have
# a record of their making. trtexec comes with TensorRT's packages; JetPack keeps it in /usr/src/tensorrt/bin.
# TRTEXEC=path names another; TENSORRT_MAJOR=10 or 11 is for one that does not say its version.
set -eu
bundle=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
out=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/pose_runtime/trtexec}
"""

PLACE = """\
mkdir -p "$out/engines"
cd "$out"
rm -f onnx
ln -s "$bundle/onnx" onnx
"""

FIND_TRTEXEC = """\
trtexec=${TRTEXEC:-$(command -v trtexec || echo /usr/src/tensorrt/bin/trtexec)}
if [ ! -x "$trtexec" ]; then
    echo "error: trtexec is not installed" >&2
    echo "seen:  no $trtexec" >&2
    echo "do:    install TensorRT's packages, or name it: TRTEXEC=path sh @SCRIPT@" >&2
    exit 4
fi
case "$trtexec" in
    /*) ;;
    *) trtexec=$(pwd)/$trtexec ;;
esac
if [ -z "${TENSORRT_MAJOR:-}" ]; then
    # It says "[TensorRT v8502]" for 8.5.2, and "[TensorRT v100300]" for 10.3.0.
    number=$("$trtexec" --help 2>&1 | sed -n 's/.*\\[TensorRT v\\([0-9]*\\)\\].*/\\1/p' | head -n 1)
    TENSORRT_MAJOR=$((${number:-0} / 10000))
    [ "$TENSORRT_MAJOR" -gt 0 ] || TENSORRT_MAJOR=$((${number:-0} / 1000))
fi
case "$TENSORRT_MAJOR" in
    @MAJORS@) ;;
    5 | 6 | 7 | 8 | 9)
        echo "error: this TensorRT is too old for these files" >&2
        echo "seen:  major version $TENSORRT_MAJOR; strongly typed networks, which they need, came with 10" >&2
        echo "do:    use JetPack 6.1 or newer, or run the ONNX files with ONNX Runtime or OpenVINO" >&2
        exit 4
        ;;
    *)
        echo "error: this recipe knows TensorRT @KNOWN@" >&2
        echo "seen:  major version $TENSORRT_MAJOR" >&2
        echo "do:    say which it is: TENSORRT_MAJOR=10 sh @SCRIPT@" >&2
        exit 4
        ;;
esac
"""


def build_script(contents: Contents, plan: EnginePlan) -> str:
    """The script; it checks each ONNX file's hash before it builds from it.

    Raises:
        BadInput: the batch of a file is fixed, and not the plan's.
    """
    recipe = recipe_of(contents.manifest.model_copy(update={"artifacts": list(contents.onnx)}), plan)
    lines = [HEAD + find_trtexec("build.sh") + PLACE.rstrip()]
    lines += checked((model.onnx, model.onnx_sha256) for model in recipe.models)
    lines += commands({major: [model.trtexec[str(major)][1:] for model in recipe.models] for major in MAJORS})
    return "\n".join(lines) + "\n"


def find_trtexec(script: str) -> str:
    """Shell that sets ``trtexec`` and ``TENSORRT_MAJOR``, or ends with 4 where a recipe cannot be followed."""
    text = FIND_TRTEXEC.replace("@SCRIPT@", script).replace("@KNOWN@", " and ".join(map(str, MAJORS)))
    return text.replace("@MAJORS@", " | ".join(map(str, MAJORS)))


def checked(files: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Shell that ends where a file has another SHA-256."""
    for path, sha256 in files:
        yield f"echo {shlex.quote(f'{sha256}  {path}')} | sha256sum --check"


def commands(switches: dict[int, list[Sequence[str]]]) -> Iterator[str]:
    """Shell that runs ``trtexec`` once for each list of switches of the major version that is there."""
    yield 'case "$TENSORRT_MAJOR" in'
    for major, each in switches.items():
        yield f"    {major})"
        for given in each:
            yield f'        "$trtexec" {shlex.join(given)}'
        yield "        ;;"
    yield "esac"
