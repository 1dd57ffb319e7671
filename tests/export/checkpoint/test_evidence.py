"""What tensors prove, with the tensor named as the file spells it; every contradiction is found."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from export.checkpoint.evidence import MAX_DEPTH, read_evidence
from export.checkpoint.loading import Checkpoint, read_checkpoint
from export.checkpoint.networks import canonical_name
from export.checkpoint.verdict import judge
from export.common.errors import BadInput
from export.model.architecture import Architecture
from export.model.config import load_config
from tests.support.checkpoints import HeadSpelling, State, alive_weights, spelled, write
from tests.support.grid import architectures, blank_weights


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("drawn") / "file"


def in_memory(state: State, head: HeadSpelling = "named", prefix: str = "module.") -> Checkpoint:
    """As ``read_checkpoint`` returns it, without a file."""
    in_file = {canonical_name(name): name for name in spelled(state, head, prefix)}
    return Checkpoint(Path("file"), "torch zip", "0" * 64, "network", state, in_file)


def problems_of(damage: Callable[[State], object], head: HeadSpelling = "named") -> dict[str, str]:
    """Where → seen, for a state dict that was tampered with."""
    state = alive_weights()
    damage(state)
    return {problem.where: problem.value for problem in read_evidence(in_memory(state, head)).problems}


@settings(max_examples=15)
@given(
    architecture=architectures(upsamplings=(3,)),
    head=st.sampled_from(get_args(HeadSpelling)),
    prefix=st.sampled_from(("", "module.")),
)
def test_any_network_is_read_back_from_its_state_dict(
    scratch: Path, architecture: Architecture, head: HeadSpelling, prefix: str
) -> None:
    state = spelled(blank_weights(architecture), head, prefix)
    found = read_checkpoint(write(scratch, state, "bare"))
    evidence = read_evidence(found)
    assert evidence.problems == ()
    assert (evidence.depths, evidence.dims) == (architecture.depths, architecture.dims)
    assert (evidence.head_channels, evidence.head_kernels) == (architecture.head_channels, architecture.head_kernels)
    assert evidence.volume_channels == architecture.joints * architecture.depth_dim
    assert evidence.fits(architecture)
    for where in evidence.read_from.values():
        for name in re.findall(r"\S+\.weight", where):
            assert name in state, "tensors are named as the file spells them"

    verdict = judge(load_config("L"), found)
    assert (verdict.architecture.joints, verdict.architecture.depth_dim) == (
        architecture.joints,
        architecture.depth_dim,
    )
    assert verdict.architecture.heatmap_size == architecture.depth_dim
    assert verdict.architecture.tensor_shapes() == architecture.tensor_shapes()


@settings(max_examples=15)
@given(architecture=architectures(), data=st.data())
def test_any_lost_tensor_is_noticed(architecture: Architecture, data: st.DataObject) -> None:
    state = blank_weights(architecture)
    deepest = {f"backbone.stages.{i}.{depth - 1}." for i, depth in enumerate(architecture.depths)}
    lost = data.draw(st.sampled_from([name for name in state if not name.endswith(".num_batches_tracked")]))
    del state[lost]
    try:
        problems = [problem.where for problem in read_evidence(in_memory(state)).problems]
    except BadInput as failure:  # without it nothing else could be judged
        problems = [failure.detail]
    assert any(lost in where for where in problems), (lost, problems)
    assert len(problems) == 1 or lost.startswith(tuple(deepest)) is False, problems


@settings(max_examples=15)
@given(architecture=architectures(), data=st.data())
def test_any_wrong_shape_is_noticed(architecture: Architecture, data: st.DataObject) -> None:
    state = blank_weights(architecture)
    name = data.draw(st.sampled_from([n for n, t in state.items() if t.dim() > 0]))
    axis = data.draw(st.integers(0, state[name].dim() - 1))
    state[name] = torch.cat([state[name], state[name]], axis)
    assert read_evidence(in_memory(state)).problems != ()


def test_missing_batch_counters_are_tolerated() -> None:
    state = {n: t for n, t in alive_weights().items() if not n.endswith(".num_batches_tracked")}
    assert len(state) < len(alive_weights())
    assert read_evidence(in_memory(state)).problems == ()


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2, torch.bfloat16], ids=str)
def test_numbers_of_any_floating_type_are_looked_at(dtype: torch.dtype) -> None:
    """Torch cannot ask eight-bit numbers whether they are finite, or negative."""
    name = "backbone.norm.running_var"
    state = {n: t.clamp(-9, 9).to(dtype) if t.is_floating_point() else t for n, t in alive_weights().items()}
    assert read_evidence(in_memory(state)).problems == ()
    for number, seen in ((float("nan"), "1 of 32 values are NaN"), (-2.0, "a variance of -2")):
        spoilt = torch.ones(32).index_fill(0, torch.tensor(3), number).to(dtype)
        [problem] = read_evidence(in_memory(state | {name: spoilt})).problems
        assert (problem.where, problem.value[: len(seen)]) == (f"module.{name}", seen)


def lose(state: State, *beginnings: str) -> None:
    for name in [n for n in state if n.startswith(beginnings)]:
        del state[name]


def spoil_everything(state: State) -> None:
    lose(state, "backbone.stages.2.0.", "backbone.norm.weight")
    state["backbone.stages.0.0.pwconv1.weight"] = torch.ones(31, 8, 1, 1)
    state["backbone.stages.0.0.pwconv1.bias"][0] = float("inf")
    state["backbone.stages.1.0.norm.running_var"][0] = -2
    state["backbone.stages.3.0.dwconv.weight"] = state["backbone.stages.3.0.dwconv.weight"].to(torch.int32)
    state["head.deconv_layers_3.dwconv.weight"] = torch.ones(16, 1, 4, 4)
    state["head.final_layer.scale"] = torch.ones(576)
    state["backbone.stages.0.123456789.dwconv.bias"] = torch.ones(8)


def test_the_error_shows_the_first_problems_and_counts_the_others(tmp_path: Path) -> None:
    state = alive_weights()
    spoil_everything(state)
    checkpoint = read_checkpoint(write(tmp_path / "file", spelled(state), "bare"))
    count = len(read_evidence(checkpoint).problems)
    assert count > 8
    with pytest.raises(BadInput, match=rf"and {count - 8} more") as caught:
        judge(load_config("L"), checkpoint)
    assert caught.value.detail.count(", expected ") == 8


def test_a_weight_that_is_missing_beside_its_bias_is_said_to_be_that() -> None:
    problems = problems_of(lambda state: lose(state, "backbone.norm.weight"))
    assert problems == {"backbone.norm.weight": "missing, though its bias is there"}


def test_an_absurd_block_number_costs_nothing() -> None:
    """A depth of 10^8 would be a list of as many layers."""
    name = f"backbone.stages.0.{10**8}.dwconv.weight"
    problems = problems_of(lambda state: state.__setitem__(name, torch.ones(8, 1, 7, 7)))
    assert problems.pop(f"backbone.stages.0.{10**8}") == "a block number"
    assert problems == {f"module.{name}": "an extra tensor of shape [8, 1, 7, 7]"}
    deepest = problems_of(lambda state: state.__setitem__(f"backbone.stages.0.{MAX_DEPTH - 1}.a", torch.ones(1)))
    assert sum(seen.startswith("missing (present: 0, 99)") for seen in deepest.values()) == MAX_DEPTH - 2


@pytest.mark.parametrize("share", [0.4, 0.6])
def test_a_network_is_another_when_most_of_its_names_are(share: float) -> None:
    state = alive_weights()
    strangers = int(len(state) * share / (1 - share))
    state |= {f"decoder.{i}.weight": torch.ones(1) for i in range(strangers)}
    if share > 0.5:
        with pytest.raises(BadInput, match="holds another network"):
            read_evidence(in_memory(state))
    else:
        assert len(read_evidence(in_memory(state)).problems) == strangers
