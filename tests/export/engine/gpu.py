"""Whether this machine has a GPU, and some that it need not have."""

import pytest

from export.common.gpu import Gpu, default_gpu

ADA = Gpu("NVIDIA GeForce RTX 4090", "8.9", 24 << 30, 128)
ORIN = Gpu("Orin", "8.7", int(7.4 * 2**30), 8)
has_gpu = default_gpu()[0] is not None
without_gpu = pytest.mark.skipif(has_gpu, reason="this machine has a GPU")
