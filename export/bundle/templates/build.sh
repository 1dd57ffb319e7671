#!/bin/sh
@ABOUT@
set -eu
folder=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
precisions=${*:-@PRECISIONS@}
for precision in $precisions; do
    case " @PRECISIONS@ " in
        *" $precision "*) ;;
        *)
            echo "error: there is no file of this precision" >&2
            echo "found: $precision" >&2
            echo "try:   name some of @PRECISIONS@: sh @SCRIPT@ fp16" >&2
            exit 2
            ;;
    esac
done
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
    # trtexec prints "[TensorRT v8502]" for 8.5.2, and "[TensorRT v100300]" for 10.3.0.
    number=$("$trtexec" --help 2>&1 | sed -n 's/.*\[TensorRT v\([0-9]*\)\].*/\1/p' | head -n 1)
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
        echo "error: this script does not support this TensorRT" >&2
        echo "found: major version $TENSORRT_MAJOR; supported: @MAJORS@" >&2
        echo "try:   set the version, if it is one of them: TENSORRT_MAJOR=10 sh @SCRIPT@" >&2
        exit 4
        ;;
esac
@PLACE@
@CHECKS@
failed=
for precision in @PRECISIONS@; do
    case " $precisions " in
        *" $precision "*) ;;
        *) continue ;;
    esac
    case "$TENSORRT_MAJOR $precision" in
@COMMANDS@
    esac
done
if [ -n "$failed" ]; then
    echo "error: trtexec could not build every engine" >&2
    echo "found: no engine for$failed; trtexec's messages are above" >&2
    echo "try:   correct what they name, or name the other precisions: sh @SCRIPT@ fp16" >&2
    exit 1
fi
