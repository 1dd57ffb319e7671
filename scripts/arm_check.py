"""Verification of a bundle on an emulated ARM processor, by the bundle's own verifier.

Run as ``python -m scripts.arm_check BUNDLE`` (``make test-arm``). QEMU and a Python for arm64 come from Debian, through
an APT configuration of their own, and wheels for aarch64 from the package index. They are unpacked into ``--cache``;
nothing is installed, and the system's packages are not touched. Exit code 0: the verifier passed, or the packages
cannot be had (``skipped``, with the reason). An emulator says nothing about time.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from export.bundle.manifest import NAME
from export.bundle.output import whole_folder
from export.bundle.verify import verify_bundle
from export.common.errors import Failure, NotPossible
from export.common.files import PARTIAL_PREFIX, sha256_file
from export.common.temporary import temporary_folder
from export.runtime.registry import installed_version

PACKAGES = ("python3:arm64", "libstdc++6:arm64")
QEMU, EMULATOR = "qemu-user-static", "qemu-aarch64-static"
PROCESSOR = "cortex-a76"
APT_CONFIGURATION = """
Dir::State "{place}/state";
Dir::State::status "{place}/status";
Dir::Cache "{place}/cache";
APT::Architecture "arm64";
#clear APT::Architectures;
APT::Architectures {{ "arm64"; "{host}"; }};
APT::Sandbox::User "root";
#clear APT::Update;
#clear DPkg;
"""
"""Read after the system's: its sources and proxies count, its folders do not, and its hooks do not run."""
CPUINFO = """processor\t: 0
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x4
CPU part\t: 0xd0b
CPU revision\t: 1
"""
"""The host's ``/proc/cpuinfo`` describes no ARM processor, and ONNX Runtime crashes when it reads that."""
PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux2014_aarch64")
GOLDENS = 2
"""The least that can be judged. A golden takes minutes in FP16 and in INT8."""


def provide_system(cache: Path) -> Path:
    """Return a folder with QEMU, and with Python, NumPy and ONNX Runtime for aarch64; fetch them if it is missing.

    NumPy and ONNX Runtime have the versions of this environment.

    Raises:
        BadInput: the folder cannot be written.
        NotPossible: a package cannot be had.
    """
    versions = {name: installed_version(name) for name in ("numpy", "onnxruntime")}
    place = cache.resolve() / "-".join(f"{name}-{version}" for name, version in versions.items())
    if not place.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        print(f"fetching an emulator, Python and {place.name} for arm64 into {cache}", file=sys.stderr)
        with whole_folder(place) as folder:
            fetch_debian(folder)
            fetch_wheels(folder / "root", [f"{name}=={version}" for name, version in versions.items()])
    return place


def fetch_debian(folder: Path) -> None:
    """Unpack Debian's Python for arm64 into ``root``, and QEMU's emulator beside it.

    Raises:
        NotPossible: they cannot be had.
    """
    host = run_tool("dpkg", "--print-architecture").strip()
    with tempfile.TemporaryDirectory(dir=folder) as text:
        place = Path(text)
        for name in ("state/lists/partial", "cache/archives/partial"):
            (place / name).mkdir(parents=True)
        (place / "status").touch()
        (place / "apt.conf").write_text(APT_CONFIGURATION.format(place=place, host=host), encoding="utf-8")
        apt = ("apt-get", "--config-file", str(place / "apt.conf"), "--quiet", "--yes")
        run_tool(*apt, "update")
        download = ("install", "--download-only", "--no-install-recommends")
        run_tool(*apt, *download, *PACKAGES, f"{QEMU}:{host}")
        for package in sorted((place / "cache/archives").glob("*.deb")):
            target = place / QEMU if package.name.startswith(f"{QEMU}_") else folder / "root"
            run_tool("dpkg-deb", "--extract", str(package), str(target))
        shutil.move(place / QEMU / "usr/bin" / EMULATOR, folder)  # one of 70 emulators
    (folder / "root/proc").mkdir(exist_ok=True)
    (folder / "root/proc/cpuinfo").write_text(CPUINFO, encoding="utf-8")


def fetch_wheels(root: Path, requirements: Sequence[str]) -> None:
    """Unpack wheels for aarch64 where Debian's Python finds them.

    Raises:
        NotPossible: they cannot be had.
    """
    version = (root / "usr/bin/python3").readlink().name.removeprefix("python")
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--no-deps", "--only-binary=:all:")
    platforms = [f"--platform={name}" for name in PLATFORMS]
    target = root / "usr/lib/python3/dist-packages"
    run_tool(*pip, *platforms, f"--python-version={version}", f"--target={target}", *requirements)


def run_tool(*command: str) -> str:
    """Run a command and return its output.

    Raises:
        NotPossible: it does not exist, or fails.
    """
    try:
        run = subprocess.run(command, capture_output=True, text=True, errors="replace", check=True)
    except OSError as error:
        value = error.strerror or str(error)
    except subprocess.CalledProcessError as error:
        value = (error.stderr.strip().splitlines() or [f"exit code {error.returncode}"])[-1]
    else:
        return run.stdout
    advice = "use Debian with access to its packages and to a package index"
    raise NotPossible("no emulated ARM processor can be had here", f"{Path(command[0]).name}: {value}", advice)


def shorten(bundle: Path, count: int, place: Path) -> Path:
    """Copy a bundle into ``place`` with its first goldens only; return the copy."""
    copy = Path(shutil.copytree(bundle, place / bundle.name))
    manifest = json.loads((copy / NAME).read_bytes())
    golden = manifest["golden"]
    path = copy / golden["path"]
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name][:count] for name in file.files}
    np.savez(path, allow_pickle=False, **arrays)
    for entry in (golden, *(entry for entry in manifest["files"] if entry["path"] == golden["path"])):
        entry |= {"sha256": sha256_file(path), "size_bytes": path.stat().st_size}
    golden |= {"count": count, "source": f"{golden['source']}; {count} of them are used"}
    (copy / NAME).write_text(json.dumps(manifest), encoding="utf-8")
    return copy


def verify_emulated(system: Path, bundle: Path, precisions: str, out: Path) -> int:
    """Run a bundle's verifier in the emulator, with ONNX Runtime and without latency; return its exit code.

    Args:
        system: folder of ``provide_system``.
        bundle: folder of the bundle.
        precisions: comma-separated precisions.
        out: the device report.
    """
    root = system / "root"
    emulator = (system / EMULATOR, "-cpu", PROCESSOR, "-L", root)
    verifier = (root / "usr/bin/python3", "-I", bundle.resolve() / "verify.py", "--runtime", "onnxruntime")
    options = ("--precision", precisions, "--threads", "1", "--seconds", "0", "--out", out)
    return subprocess.run([*map(str, (*emulator, *verifier, *options))], check=False).returncode


def check_on_arm(bundle: Path, cache: Path, precisions: str, out: Path, goldens: int = GOLDENS) -> int:
    """Verify a bundle on an emulated processor with its first goldens; return the verifier's exit code.

    Raises:
        BadInput: the folder is no bundle, or the cache cannot be written.
        NotPossible: a package cannot be had.
    """
    status = verify_bundle(bundle, ("--hashes-only",))
    if status:
        return status
    system = provide_system(cache)
    with temporary_folder(PARTIAL_PREFIX, cache) as place:
        return verify_emulated(system, shorten(bundle, goldens, place), precisions, out)


def main() -> int:
    """Check the bundle of the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m scripts.arm_check", description=__doc__)
    parser.add_argument("bundle", type=Path, help="the folder of a bundle, as build/S/bundle/S-bundle")
    parser.add_argument("--cache", type=Path, default=Path("build/arm"), help="folder of the emulator's packages")
    parser.add_argument("--precision", default="fp32,fp16,int8", help="comma-separated precisions")
    parser.add_argument("--goldens", type=int, default=GOLDENS, help=f"number of goldens (default: {GOLDENS})")
    parser.add_argument("--out", type=Path, help="device report (default: CACHE/device-report.json)")
    options = parser.parse_args()
    out = (options.out or options.cache / "device-report.json").resolve()
    try:
        return check_on_arm(options.bundle, options.cache, options.precision, out, options.goldens)
    except NotPossible as reason:
        print(f"skipped: {reason.problem}: {reason.detail}")
        return 0
    except Failure as failure:
        print(failure.report(), file=sys.stderr)
        return failure.exit_code


if __name__ == "__main__":
    sys.exit(main())
