"""``build.sh``: the recipe's ``trtexec`` commands, for devices without TensorRT's Python package.

POSIX shell, and called by ``sh``: not everything that unpacks an archive keeps the right to execute a file.
"""

import shlex
from collections.abc import Iterable, Iterator, Sequence

from export.bundle.contents import Contents
from export.engine.plan import EnginePlan
from export.pipeline.recipe import MAJORS, recipe_of

HEAD = """\
#!/bin/sh
# Builds this bundle's engines with trtexec, every switch explicit: sh build.sh [fp16 int8 …]
#
# Without a precision: all. One that this TensorRT cannot build keeps no other from being built. OUT=folder names where
# they go; the default is no folder of the runtime's own, in which nobody else may write.
#
# For programs of your own, or of cpp/. The runtime and verify.py use engines that build.py built, since only those have
# a record of their making. trtexec comes with TensorRT's packages; JetPack keeps it in /usr/src/tensorrt/bin.
# TRTEXEC=path names another; TENSORRT_MAJOR=10 or 11 is for one that does not say its version.
set -eu
bundle=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
out=${OUT:-${XDG_CACHE_HOME:-$HOME/.cache}/pose_trtexec}
"""

CHOOSE = """\
asked=${*:-@PRECISIONS@}
for one in $asked; do
    case " @PRECISIONS@ " in
        *" $one "*) ;;
        *)
            echo "error: there is no file of this precision" >&2
            echo "found: $one" >&2
            echo "try:   name some of @PRECISIONS@: sh @SCRIPT@ fp16" >&2
            exit 2
            ;;
    esac
done
wanted() {
    case " $asked " in
        *" $1 "*) return 0 ;;
    esac
    return 1
}
"""

FAILED = """\
if [ -n "$failed" ]; then
    echo "error: trtexec could not build every engine" >&2
    echo "found: none of$failed; what it said stands above" >&2
    echo "try:   mend what it names, or name the other precisions: sh @SCRIPT@ fp16" >&2
    exit 1
fi
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
    echo "found: no $trtexec" >&2
    echo "try:   install TensorRT's packages, or name it: TRTEXEC=path sh @SCRIPT@" >&2
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
        echo "found: major version $TENSORRT_MAJOR; strongly typed networks, which they need, came with 10" >&2
        echo "try:   use JetPack 6.1 or newer, or run the ONNX files with ONNX Runtime or OpenVINO" >&2
        exit 4
        ;;
    *)
        echo "error: this recipe knows TensorRT @KNOWN@" >&2
        echo "found: major version $TENSORRT_MAJOR" >&2
        echo "try:   say which it is: TENSORRT_MAJOR=10 sh @SCRIPT@" >&2
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
    precisions = [model.precision for model in recipe.models]
    lines = [HEAD + choose("build.sh", precisions) + find_trtexec("build.sh") + PLACE.rstrip()]
    lines += checked((model.onnx, model.onnx_sha256) for model in recipe.models)
    lines += commands(
        "build.sh",
        {major: [(model.precision, model.trtexec[str(major)][1:]) for model in recipe.models] for major in MAJORS},
    )
    return "\n".join(lines) + "\n"


def choose(script: str, precisions: Sequence[str]) -> str:
    """Shell that sets ``asked`` to the precisions of the command line, or ends with 2 where one is not there."""
    return CHOOSE.replace("@SCRIPT@", script).replace("@PRECISIONS@", " ".join(precisions))


def find_trtexec(script: str) -> str:
    """Shell that sets ``trtexec`` and ``TENSORRT_MAJOR``, or ends with 4 where a recipe cannot be followed."""
    text = FIND_TRTEXEC.replace("@SCRIPT@", script).replace("@KNOWN@", " and ".join(map(str, MAJORS)))
    return text.replace("@MAJORS@", " | ".join(map(str, MAJORS)))


def checked(files: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Shell that ends where a file has another SHA-256."""
    for path, sha256 in files:
        yield f"echo {shlex.quote(f'{sha256}  {path}')} | sha256sum --check"


def commands(script: str, switches: dict[int, list[tuple[str, Sequence[str]]]]) -> Iterator[str]:
    """Shell that runs ``trtexec`` once for each precision asked for, with its switches of the major version there.

    One that fails keeps no other from being built; the shell then ends with 1.
    """
    yield "failed="
    yield 'case "$TENSORRT_MAJOR" in'
    for major, each in switches.items():
        yield f"    {major})"
        for precision, given in each:
            yield f"        if wanted {precision}; then"
            yield f'            "$trtexec" {shlex.join(given)} || failed="$failed {precision}"'
            yield "        fi"
        yield "        ;;"
    yield "esac"
    yield FAILED.replace("@SCRIPT@", script).rstrip()
