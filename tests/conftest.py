"""What holds for all tests."""

import torch

torch.set_num_threads(1)
"""Networks as small as those of the tests gain nothing from a second thread, and wait fifty times as long where
another process keeps that core busy."""
