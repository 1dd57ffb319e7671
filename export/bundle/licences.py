"""``licences/``: whose the parts of a bundle are."""

from importlib import metadata
from pathlib import Path

from export.bundle.contents import Contents
from export.bundle.goldens import Goldens
from export.common.files import PROJECT

DISTRIBUTION = "convnextpose-deploy"
"""What pip calls this project."""

ORIGINS = {
    "stand-in": "made by this tool from random numbers; they are nobody's, and of no use but for latency",
    "demo": "trained by this project on drawn figures, under the licence beside this file",
    "checkpoint": "from the checkpoint with this SHA-256: {sha256}. Whoever made it decides about its use; ask them",
}

IMAGES = {
    True: "This project drew them, under the licence beside this file.",
    False: "They are the images of whoever wrote this bundle; who shows people must be allowed to. Ask them.",
}


def write_licences(folder: Path, contents: Contents, goldens: Goldens) -> None:
    """The licence of this project's code, and what is known of the network, the weights and the images."""
    (folder / "licences").mkdir()
    (folder / "licences/LICENSE").write_text(licence(), encoding="utf-8")
    weights = contents.manifest.weights
    text = (
        "# Whose this is\n\n"
        "- The code (`pose_runtime/`, `pose_verify/`, `cpp/`, the scripts beside this folder): MIT, see `LICENSE`.\n"
        "- The network, ConvNeXtPose, is its authors' work (IEEE Access 2023).\n"
        f"- The weights in `onnx/` and `engines/`: {ORIGINS[weights.origin].format(sha256=weights.sha256)}.\n"
        f"- The images in `golden.npz` and `golden/`: {goldens.source}. {IMAGES[goldens.drawn]}\n"
    )
    if contents.engines:
        text += "- The files in `engines/`: written by NVIDIA's TensorRT-RTX, and run by it, under its licence.\n"
    (folder / "licences/NOTICE.md").write_text(text, encoding="utf-8")


def licence() -> str:
    """This project's: beside its sources, or where pip has put it."""
    beside = PROJECT / "LICENSE"
    if beside.is_file():
        return beside.read_text(encoding="utf-8")
    return metadata.distribution(DISTRIBUTION).read_text("licenses/LICENSE") or ""
