"""What holds for all tests."""

from pathlib import Path

import pytest
import torch

from tests.command_line import ROOT, convnextpose

torch.set_num_threads(1)
"""Networks as small as those of the tests gain nothing from a second thread, and wait fifty times as long where
another process keeps that core busy."""


@pytest.fixture(scope="session")
def demo_export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo checkpoint's folder, as ``convnextpose export`` makes it; tests must leave it as it is."""
    place = tmp_path_factory.mktemp("demo")
    run = convnextpose("export", "XS-atto", "--checkpoint", ROOT / "demo/XS-atto-demo.pth", cwd=place)
    assert run.returncode == 0, run.stderr
    return place / "build/XS-atto"
