# %% [markdown]
# # ConvNeXtPose: from downloaded checkpoints to bundles
#
# For Kaggle, Colab or your own machine, as a notebook (`convnextpose.ipynb`) or as a script (`python convnextpose.py`).
# Change the settings in the first cell, and run everything. You need no GPU. A second run exports only what has
# changed.
#
# The outputs in the repository are those of made-up files, not of released ones: XS with the weights of the demo, on
# one core of a busy machine, so no row of the benchmark is stable.

# %% [markdown]
# ## Settings
#
# Checkpoints are searched below `WEIGHTS`, at any depth: files, zips or unpacked folders, under any name. Name their
# folder there if `INPUT` also holds thousands of images. The wheel of this project and data sets are searched in both,
# three folders deep. Results go to `build` in the working folder.

# %%
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

PLACES = ["/kaggle/input", "/content/drive/MyDrive/weights", "weights", "../weights"]
INPUT = Path(next(filter(os.path.isdir, PLACES), "weights"))
WEIGHTS = Path(os.environ.get("CONVNEXTPOSE_WEIGHTS", INPUT))
OUT = Path("build")
MODELS = os.environ.get("MODELS", "XS,S,M,L").replace(" ", "").split(",")
CROPS = os.environ.get("CROPS")  # a folder of 64 or more crops of people, for parity; None: drawn figures
CALIBRATION = os.environ.get("CALIBRATION")  # a folder of other crops, for all precisions but fp32
QUICK = os.environ.get("QUICK", "") not in ("", "0")  # True: FP32 only and a short benchmark, to try the notebook
PRECISION = "fp32" if QUICK else "fp32,fp16"  # more: int8, and bf16, which a T4 (compute capability 7.5) has not
GPU = shutil.which("nvidia-smi") is not None


def run(*words):
    """Run a command and print its output; stop here if it fails (exit code 3, inconclusive, goes on)."""
    words = [str(word) for word in words]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout:
            print(line, end="", flush=True)
    if process.returncode not in (0, 3):
        raise SystemExit(process.returncode)


def find(pattern):
    """Return the first path of a pattern below WEIGHTS or INPUT, at most three folders down, or None."""
    patterns = ["*/" * depth + pattern for depth in range(4)]
    return next((path for place in (WEIGHTS, INPUT) for glob in patterns for path in sorted(place.glob(glob))), None)


print(f"checkpoints: {WEIGHTS}, results: {OUT}, GPU: {'yes' if GPU else 'no'}")

# %% [markdown]
# ## Install
#
# From the wheel beside the checkpoints, or from the clone that this notebook is in. Nothing happens where the command
# is already installed.

# %%
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
if not shutil.which("convnextpose"):
    clones = [path.parent for path in (Path("pyproject.toml"), Path("../pyproject.toml")) if path.is_file()]
    source = find("convnextpose_deploy-*.whl") or next(iter(clones), None)
    if source is None:
        print(
            f"error: convnextpose is not installed\nfound: no convnextpose_deploy-*.whl below {WEIGHTS}, and no clone"
        )
        print("try:   put the wheel beside the checkpoints, or run this in a clone of the repository")
        raise SystemExit(2)
    extras = "report,openvino,tensorrt" if GPU else "report,openvino"
    run(sys.executable, "-m", "pip", "install", "--quiet", f"{source.resolve()}[{extras}]")
run("convnextpose", "--version")

# %% [markdown]
# ## Inspect
#
# Which network each file holds, whether its name agrees, and which published claims it contradicts.

# %%
run("convnextpose", "inspect", WEIGHTS)

# %% [markdown]
# ## Export
#
# Each model is exported from the file whose content fits, and compared with the reference model.

# %%
images = ["--images", CROPS] if CROPS else []
calibration = ["--calibration", CALIBRATION] if CALIBRATION else []
run(
    *("convnextpose", "export", ",".join(MODELS), "--weights", WEIGHTS, "--precision", PRECISION, "--out", OUT),
    *(*images, *calibration),
)

# %% [markdown]
# ## Evaluate
#
# MPJPE, if Human3.6M or a data set with COCO-style annotations is mounted.

# %%
human36m, coco = find("annotations/Human36M_subject9_data.json"), find("annotations.json")
datasets = {"human36m": human36m.parents[1]} if human36m else {}
datasets |= {"coco": coco.parent} if coco else {}
for name, folder in datasets.items():
    for model in MODELS:
        run("convnextpose", "evaluate", OUT / model, "--dataset", name, "--data", folder)
if not datasets:
    print("Not evaluated: no Human3.6M and no COCO-style annotations.json was found.")

# %% [markdown]
# ## Benchmark
#
# Every runtime of this machine beside PyTorch, on the GPU too where there is one.

# %%
quick = ["--budget", "1", "--threads", "1", "--runtime", "onnxruntime"] if QUICK else []
for model in MODELS:
    run("convnextpose", "bench", OUT / model, *quick)

# %% [markdown]
# ## Report
#
# What to ship on this machine, how fast and how wrong it is, and what was not tested.

# %%
run("convnextpose", "report", *(OUT / model for model in MODELS), "--out", OUT / "report")
if "ipykernel" in sys.modules:
    from IPython.display import Markdown, display

    display(Markdown((OUT / "report/report.md").read_text(encoding="utf-8")))

# %% [markdown]
# ## Bundles
#
# A folder for a device of each model, with its own verifier. All of them and the report are packed into `bundles.zip`:
# on Kaggle it is in the output of the notebook, on Colab in the file panel.

# %%
for model in MODELS:
    run("convnextpose", "bundle", OUT / model)
with zipfile.ZipFile("bundles.zip", "w") as archive:
    for path in [*OUT.glob("*/bundle/*-bundle.*"), OUT / "report/report.html"]:
        archive.write(path, path.name)
print("bundles.zip:", ", ".join(zipfile.ZipFile("bundles.zip").namelist()))
