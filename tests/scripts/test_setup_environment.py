"""`make setup` of a project without dependencies: every way to make its environment, and environments that are damaged.

Everything is real but uv, and no package index is asked: pip comes from the wheel that ensurepip bundles.
"""

import ensurepip
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command_line import ROOT

INDEX = "https://index.example/cpu"
PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "planted"
version = "1"

[project.optional-dependencies]
report = []
fleet = []
openvino = []
tensorrt-rtx = []
tensorrt = []
dev = []
"""

BACKEND = """
import zipfile

def build_editable(folder, settings=None, metadata=None):
    extras = "".join(f"Provides-Extra: {name}\\n" for name in "report fleet openvino tensorrt-rtx tensorrt dev".split())
    with zipfile.ZipFile(f"{folder}/planted-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("planted.py", "")
        info = "planted-1.dist-info/"
        wheel.writestr(info + "METADATA", f"Metadata-Version: 2.1\\nName: planted\\nVersion: 1\\n{extras}")
        wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(info + "RECORD", "planted.py,,\\n")
    return "planted-1-py3-none-any.whl"
"""

UV = f"""#!/bin/sh
echo "$@" >> uv.log
case "$1 $2" in
  venv*) for folder; do :; done; exec {sys.executable} -m venv --without-pip "$folder" ;;
  "pip install") [ ! -e uv.killed ] || kill -9 $$; [ ! -e uv.fails ] ;;
esac
"""


class Project:
    """A copy of the Makefile and its script beside a project without dependencies."""

    def __init__(self, root: Path, bin_folder: Path) -> None:
        self.root, self.bin = root, bin_folder
        self.environment = root / ".venv"
        self.hidden: list[str] = []
        """Modules that the Python outside lacks."""

    def make(self, *words: str) -> subprocess.CompletedProcess[str]:
        hide = "".join(f"sys.modules[{name!r}] = None\n" for name in self.hidden)
        (self.root / "hide").mkdir(exist_ok=True)
        (self.root / "hide/sitecustomize.py").write_text(f"import sys\nif sys.prefix == sys.base_prefix:\n    {hide}\n")
        environment = {
            "PATH": f"{self.bin}:/usr/bin:/bin",
            "PYTHONPATH": str(self.root / "hide"),
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(Path(ensurepip.__file__).with_name("_bundled")),
            "PIP_CONFIG_FILE": os.devnull,
        }
        python = Path(sys.base_prefix) / f"bin/python{sys.version_info[0]}.{sys.version_info[1]}"
        command = ["make", "--no-print-directory", f"PYTHON={python}", *words]
        return subprocess.run(command, cwd=self.root, env=environment, capture_output=True, text=True, check=False)

    def has_project(self) -> bool:
        """Return whether the environment has the project."""
        run = [str(self.environment / "bin/python"), "-c", "import planted"]
        return subprocess.run(run, capture_output=True, check=False).returncode == 0

    def plant_uv(self) -> None:
        (self.bin / "uv").write_text(UV)
        (self.bin / "uv").chmod(0o755)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    root = tmp_path / "project"
    (root / "scripts").mkdir(parents=True)
    for name in ("Makefile", "scripts/setup_environment.py"):
        shutil.copy(ROOT / name, root / name)
    (root / "pyproject.toml").write_text(PROJECT)
    (root / "backend.py").write_text(BACKEND)
    (root / "constraints.txt").touch()
    (tmp_path / "bin").mkdir()
    return Project(root, tmp_path / "bin")


def test_a_fresh_machine(project: Project) -> None:
    done = project.make("setup")
    assert done.returncode == 0, done.stderr
    assert "making .venv with venv (there is none)" in done.stderr
    assert "to download: " in done.stderr
    assert done.stdout == ""
    assert project.has_project()
    assert project.make("setup").stderr == ""
    assert not (project.environment / ".ready-dev").exists()
    assert "installing what dev needs" in project.make("setup-dev").stderr
    assert project.make("setup-dev").stderr == ""


def test_without_ensurepip_a_pip_outside_installs_one(project: Project) -> None:
    """After another way has failed."""
    (project.bin / "virtualenv").write_text("#!/bin/sh\nexit 3\n")
    (project.bin / "virtualenv").chmod(0o755)
    project.hidden = ["ensurepip"]
    done = project.make("setup")
    assert done.returncode == 0, done.stderr
    assert "making .venv with venv, and pip from outside (this failed with exit code 3" in done.stderr
    assert project.has_project()


def test_without_ensurepip_virtualenv_is_used(project: Project) -> None:
    project.hidden = ["ensurepip"]
    virtualenv = project.bin / "virtualenv"
    virtualenv.write_text(f'#!/bin/sh\nfor folder; do :; done\nexec {sys.executable} -m venv "$folder"\n')
    virtualenv.chmod(0o755)
    done = project.make("setup")
    assert done.returncode == 0, done.stderr
    assert "making .venv with virtualenv" in done.stderr
    assert project.has_project()


def test_nothing_that_makes_an_environment(project: Project) -> None:
    project.hidden = ["ensurepip", "pip"]
    done = project.make("setup")
    assert done.returncode == 2
    assert "error: no environment can be made: there is none" in done.stderr
    assert "apt install python3-venv" in done.stderr
    project.plant_uv()
    assert "making .venv with uv (an earlier set-up was interrupted)" in project.make("setup").stderr


def test_uv_is_preferred(project: Project) -> None:
    project.plant_uv()
    done = project.make("setup")
    assert done.returncode == 0, done.stderr
    version, venv, install = (project.root / "uv.log").read_text().splitlines()[:3]
    assert version == "--version"
    assert venv.startswith("venv --quiet --allow-existing --python ")
    assert install.startswith(f"pip install --python {project.environment}/bin/python --quiet --constraint ")
    assert install.endswith("--editable .[report,fleet,openvino,tensorrt-rtx]")


def test_uv_that_does_not_run_is_left_out(project: Project) -> None:
    (project.bin / "uv").write_text("#!/bin/sh\nexit 1\n")
    (project.bin / "uv").chmod(0o755)
    project.hidden = ["ensurepip", "pip"]
    assert "no environment can be made" in project.make("setup").stderr


def test_torch_comes_from_the_index_that_is_named(project: Project) -> None:
    project.plant_uv()
    assert project.make("setup", f"TORCH_INDEX={INDEX}").returncode == 0
    torch, rest = (project.root / "uv.log").read_text().splitlines()[2:4]
    assert torch.endswith(f"--index-url {INDEX} --no-deps torch")
    assert "index" not in rest


def test_a_killed_installation_is_replaced(project: Project) -> None:
    """Also of the developers' tools, which leaves the users' mark in place."""
    project.plant_uv()
    assert project.make("setup").returncode == 0
    (project.root / "uv.killed").touch()
    done = project.make("setup-dev")
    assert done.returncode == 2
    assert "was ended by signal 9" in done.stderr
    assert (project.environment / ".ready").exists()
    (project.root / "uv.killed").unlink()
    (project.environment / "half").touch()
    assert "making .venv with uv (an earlier set-up was interrupted)" in project.make("setup").stderr
    assert not (project.environment / "half").exists()
    assert project.make("setup").stderr == ""


def test_a_failed_installation_leaves_a_complete_environment_alone(project: Project) -> None:
    """As without a network: what was ready stays ready."""
    project.plant_uv()
    assert project.make("setup").returncode == 0
    (project.root / "uv.fails").touch()
    assert project.make("setup-dev").returncode == 2
    assert project.make("setup").stderr == ""


@pytest.mark.parametrize("damage", ["no Python", "empty folder", "half a package", "broken link"])
def test_a_damaged_environment_is_replaced(project: Project, damage: str) -> None:
    project.plant_uv()
    (project.environment / "half").mkdir(parents=True)
    if damage != "empty folder":
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", project.environment], check=True)
        python = project.environment / "bin/python"
        if damage == "half a package":
            (packages,) = project.environment.glob("lib/python3*/site-packages")
            (packages / "torch-2.dist-info").mkdir()
        else:
            python.unlink()
        if damage == "broken link":
            python.symlink_to("nowhere")
    done = project.make("setup")
    assert done.returncode == 0, done.stderr
    assert (
        "torch-2.dist-info is incomplete" if damage == "half a package" else "its Python does not run"
    ) in done.stderr
    assert not (project.environment / "half").exists()
    assert project.make("setup").stderr == ""


def test_somebody_elses_environment_is_finished(project: Project) -> None:
    """Without pip, too; and what is in it stays."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", project.environment], check=True)
    (project.environment / "theirs").touch()
    done = project.make("setup")
    assert done.returncode == 0, done.stderr
    assert "making" not in done.stderr
    assert (project.environment / "theirs").exists()
    assert project.has_project()


def test_an_environment_behind_a_link(project: Project, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    project.environment.symlink_to(tmp_path / "elsewhere")
    project.plant_uv()
    assert project.make("setup").returncode == 0
    assert project.environment.is_symlink()
    assert (tmp_path / "elsewhere/bin/python").exists()
