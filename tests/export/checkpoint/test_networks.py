"""The right network is chosen among those of a file, under any wrapper's names, and other networks are reported."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from export.checkpoint.evidence import read_evidence
from export.checkpoint.inspection import inspect_checkpoint
from export.checkpoint.loading import Checkpoint, read_checkpoint
from export.common.errors import BadInput
from tests.support.checkpoints import TINY, State, alive_weights, fresh_weights, spelled
from tests.support.command_line import in_process

AVERAGED = alive_weights()
LAST = fresh_weights(TINY)


def read(path: Path, content: Any, key: str | None = None) -> Checkpoint:
    torch.save(content, path / "file")
    return read_checkpoint(path / "file", key)


def holds(checkpoint: Checkpoint, state: State) -> bool:
    tensors = checkpoint.tensors
    return tensors.keys() == state.keys() and all(torch.equal(tensors[name], state[name]) for name in state)


def prefixed(prefix: str, state: State) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


# ── several networks in one file ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("content", "used", "other"),
    [
        ({"network": LAST, "ema": AVERAGED}, "ema", "network"),
        ({"model": LAST, "ema": AVERAGED}, "ema", "model"),
        ({"ema_state_dict": AVERAGED, "state_dict": LAST}, "ema_state_dict", "state_dict"),
        ({"state_dict": LAST, "state_dict_ema": AVERAGED}, "state_dict_ema", "state_dict"),
        ({"model": LAST, "swa_model": prefixed("module.", AVERAGED)}, "swa_model", "model"),
        ({"network": LAST, "ema": {"decay": 0.999, "shadow": AVERAGED}}, "ema.shadow", "network"),
        (
            {"state_dict": prefixed("model.", LAST) | prefixed("ema_model.", AVERAGED)},
            "state_dict.ema_model",
            "state_dict.model",
        ),
        (prefixed("online_model.", LAST) | prefixed("ema_model.module.", AVERAGED), "ema_model", "online_model"),
        ({"network": AVERAGED, "best": LAST}, "network", "best"),
    ],
)
def test_the_averaged_network_is_used_and_the_other_reported(
    tmp_path: Path, content: Any, used: str, other: str
) -> None:
    found = read(tmp_path, content)
    assert (found.location, found.other_networks) == (used, (other,))
    assert holds(found, AVERAGED)
    chosen = read(tmp_path, content, other)
    assert (chosen.location, chosen.other_networks) == (other, (used,))
    assert holds(chosen, LAST)


def test_an_average_of_parameters_only_is_not_a_whole_network(tmp_path: Path) -> None:
    parameters = {name: tensor for name, tensor in LAST.items() if "running" not in name}
    found = read(tmp_path, {"network": AVERAGED, "ema": parameters})
    assert (found.location, found.other_networks) == ("network", ("ema",))
    assert holds(found, AVERAGED)


def test_the_same_weights_under_two_keys_are_one_network(tmp_path: Path) -> None:
    found = read(tmp_path, {"weights": AVERAGED, "model": spelled(AVERAGED), "epoch": 3})
    assert (found.location, found.other_networks, found.epoch) == ("model", (), 3)


def test_another_kind_of_network_beside_it_is_passed_over(tmp_path: Path) -> None:
    found = read(tmp_path, {"discriminator": {"a": torch.zeros(2)}, "generator": AVERAGED})
    assert (found.location, found.other_networks) == ("generator", ())


@pytest.mark.parametrize("keys", [("teacher", "student"), ("ema_1", "ema_2")])
def test_without_a_rule_the_user_chooses(tmp_path: Path, keys: tuple[str, str]) -> None:
    content = dict(zip(keys, (AVERAGED, LAST), strict=True))
    with pytest.raises(BadInput, match="several state dicts") as refused:
        read(tmp_path, content)
    assert all(key in refused.value.detail for key in keys)
    assert "--weights-key" in refused.value.advice
    assert holds(read(tmp_path, content, keys[1]), LAST)
    with pytest.raises(BadInput, match=f"no weights under 'x' .*{keys[0]}"):
        read(tmp_path, content, "x")


def test_the_command_says_which_network_it_uses(tmp_path: Path) -> None:
    torch.save({"model": LAST, "ema": AVERAGED}, tmp_path / "two.pth")
    run = in_process("inspect", "two.pth", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert "'ema' is used; the file also holds 'model': --weights-key chooses" in run.stdout
    run = in_process("inspect", "two.pth", "--weights-key", "model", "--json", cwd=tmp_path)
    assert '"location": "model"' in run.stdout
    assert inspect_checkpoint(tmp_path / "two.pth", "L", {}).record.other_networks == ("model",)


# ── names that training scripts add ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "prefix",
    [
        *("model.", "model._orig_mod.", "_fsdp_wrapped_module.", "module._orig_mod.", "_orig_mod.module."),
        *("net.student.", "_forward_module.model.module.", "pose-model.", "backbone_and_head."),
    ],
)
@pytest.mark.parametrize("form", ["pth", "safetensors"])
def test_any_prefix_is_stripped(tmp_path: Path, prefix: str, form: str) -> None:
    if form == "pth":
        found = read(tmp_path, {"state_dict": prefixed(prefix, AVERAGED)})
    else:
        save_file(prefixed(prefix, AVERAGED), tmp_path / "file")
        found = read_checkpoint(tmp_path / "file")
    assert holds(found, AVERAGED)
    assert found.names_in_file["head.final_layer.weight"] == prefix + "head.final_layer.weight"
    assert read_evidence(found).problems == ()


@pytest.mark.parametrize(
    ("part", "wrapper"),
    [("backbone.", "_orig_mod."), ("backbone.stages.0.0.", "_checkpoint_wrapped_module."), ("head.", "module.")],
)
def test_wrappers_of_parts_are_stripped(tmp_path: Path, part: str, wrapper: str) -> None:
    state = {name.replace(part, part + wrapper, 1): tensor for name, tensor in AVERAGED.items()}
    assert state.keys() != AVERAGED.keys()
    assert holds(read(tmp_path, state), AVERAGED)


@pytest.mark.parametrize("name", ["n_averaged", "module.n_averaged", "num_updates", "decay", "initted", "step"])
def test_scalars_of_averaging_are_ignored(tmp_path: Path, name: str) -> None:
    found = read(tmp_path, {name: torch.tensor(100), **prefixed("module.", AVERAGED)})
    assert holds(found, AVERAGED)


@pytest.mark.parametrize(
    ("name", "tensor"),
    [("criterion.weight", torch.ones(1)), ("n_averaged", torch.ones(2)), ("aux.head.final_layer.bias", torch.ones(4))],
)
def test_other_extra_tensors_are_contradictions(tmp_path: Path, name: str, tensor: torch.Tensor) -> None:
    found = read(tmp_path, {name: tensor, **prefixed("model.", AVERAGED)})
    assert [problem.where for problem in read_evidence(found).problems] == [name]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bool])
def test_a_counter_that_does_not_count_is_a_contradiction(tmp_path: Path, dtype: torch.dtype) -> None:
    name = next(name for name in AVERAGED if name.endswith("num_batches_tracked"))
    found = read(tmp_path, {**AVERAGED, name: AVERAGED[name].to(dtype)})
    assert [problem.where for problem in read_evidence(found).problems] == [name]


def test_names_of_megabytes_are_cut(tmp_path: Path) -> None:
    prefix, extra = "x" * 50_000 + ".", "head." + "y" * 2_000_000
    found = read(tmp_path, {"k" * 2_000_000: {**prefixed(prefix, AVERAGED), prefix + extra: torch.ones(1)}})
    [problem] = read_evidence(found).problems
    assert len(problem.where) < 500
    assert len(found.location) < 500
    with pytest.raises(BadInput) as refused:
        read(tmp_path, {"k" * 2_000_000: 1})
    assert len(str(refused.value)) < 2000


def test_a_state_dict_with_many_prefixes_ends_soon(tmp_path: Path) -> None:
    content = {f"{i}.head.final_layer.weight": torch.ones(1) for i in range(3000)}
    with pytest.raises(BadInput):
        read(tmp_path, content)
