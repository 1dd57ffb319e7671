"""Choice of a network among the state dicts of a checkpoint.

Training scripts keep weights under several keys, put wrappers' names before those of the layers, and save an average of
the weights beside the last ones.
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from export.checkpoint.pickled import OtherTensor, PickledTensor
from export.checkpoint.tensors import StateDict, elements
from export.common.errors import BadInput
from export.common.plain import shorten

STATE_DICT_KEYS = ("network", "state_dict", "model_state_dict", "model", "net", "ema", "model_ema")
"""Keys under which training scripts keep the weights; the released files use ``network``."""

AVERAGED = re.compile(r"(^|[._])(ema|swa|averaged?|avg|shadow)([._]|$)", re.IGNORECASE)
"""Keys of weights averaged over the training, which its validation uses."""

WRAPPERS = re.compile(r"\b(?:module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
"""Names that DataParallel, torch.compile and FSDP put before those of a network or of its parts."""

FIRST_LAYERS = re.compile(r"(?:^|\.)(backbone\.(?:downsample_layers|stages)\.|head\.(?:deconv_layers|final_layer))")

HEAD_NAME = re.compile(
    r"head\.deconv_layers(?:_(?P<named>[0-9]{1,9})|\.(?P<listed>[0-9]{1,9}))\.(?P<part>dwconv|norm|pwconv|[012])\."
)
HEAD_PARTS = {"0": "dwconv", "1": "norm", "2": "pwconv"}

BOOKKEEPING = {"n_averaged", "num_updates", "decay", "initted", "step", "steps", "epoch", "global_step"}
"""Scalars that averaging keeps beside the weights."""

MOST_NETWORKS = 8
"""Limit of networks with prefixes in one state dict."""

COUNTER = ".num_batches_tracked"
"""Suffix of a norm's count of training batches. Inference does not use it, so a file may lack it."""


@dataclass(frozen=True)
class Choice:
    """A network of a checkpoint, and the other ones in it."""

    key: str
    """Place in the file's dictionary; empty for a bare state dict."""
    state: StateDict
    """Name without wrappers and prefix → tensor."""
    names_in_file: Mapping[str, str]
    """The same name → name in the file."""
    other_keys: tuple[str, ...]
    """Keys of different networks in the file."""


@dataclass(frozen=True)
class Candidate:
    """A network's tensors under their names in the file; most begin with ``prefix``, wrappers not counted."""

    state: StateDict
    prefix: str

    @property
    def is_network(self) -> bool:
        """True if some names are those of this project's networks."""
        return any(FIRST_LAYERS.search(_without_wrappers(name)) for name in self.state)

    @property
    def size(self) -> int:
        """Number of tensors that a network needs."""
        return sum(not name.endswith(COUNTER) and elements(tensor) > 0 for name, tensor in self.state.items())

    def layer(self, name: str) -> str:
        """Return the canonical name of a tensor."""
        return canonical_name(_without_wrappers(name).removeprefix(self.prefix))

    def holds_the_same(self, other: "Candidate") -> bool:
        """Return whether both are the very same tensors of the file."""
        if len(self.state) != len(other.state):
            return False
        layers, compared = ({c.layer(name): t for name, t in c.state.items()} for c in (self, other))
        return layers.keys() == compared.keys() and all(
            tensor is compared[name] or (isinstance(tensor, PickledTensor) and tensor == compared[name])
            for name, tensor in layers.items()
        )


def choose_network(path: Path, content: Any, key: str | None = None) -> Choice:
    """Choose the averaged network if there are several, or the one under ``key``.

    Raises:
        BadInput: the file has no network, several without a rule to choose, or none under ``key``.
    """
    candidates = _candidates(content)
    if not candidates:
        raise _no_state_dict(path, content)
    networks = {label: c for label, c in candidates.items() if c.is_network} or candidates
    if key is not None and key not in candidates:
        keys = ", ".join(repr(shorten(label)) for label in list(candidates)[:12])
        raise BadInput(f"{path} has no weights under {key!r}", f"it has {keys}", "choose one with --weights-key")
    label = _preferred(path, networks) if key is None else key
    selected = candidates[label]
    other_keys = [other for other, c in networks.items() if other != label and not c.holds_the_same(selected)]
    return _normalized(path, label, selected, tuple(shorten(other) for other in other_keys[:8]))


def canonical_name(name: str) -> str:
    """Return the name without wrappers, with head layers as ``deconv_layers_1.dwconv`` (counted from 1).

    >>> canonical_name("module.head.deconv_layers_1.0.weight")
    'head.deconv_layers_1.dwconv.weight'
    >>> canonical_name("head._orig_mod.deconv_layers.0.norm.bias")
    'head.deconv_layers_1.norm.bias'
    """
    name = _without_wrappers(name)
    match = HEAD_NAME.match(name)
    if match is None:
        return name
    number = match["named"] or str(int(match["listed"]) + 1)
    part = HEAD_PARTS.get(match["part"], match["part"])
    return f"head.deconv_layers_{number}.{part}.{name[match.end() :]}"


def _without_wrappers(name: str) -> str:
    return WRAPPERS.sub("", name)


def _preferred(path: Path, networks: Mapping[str, Candidate]) -> str:
    largest = max(c.size for c in networks.values())
    whole = {label: c for label, c in networks.items() if c.size == largest}
    first = next(iter(whole))
    if all(c.holds_the_same(whole[first]) for c in whole.values()):
        return next((key for key in STATE_DICT_KEYS if key in whole), first)
    averaged = [label for label in whole if AVERAGED.search(label)]
    if len(averaged) == 1:
        return averaged[0]
    usual = [key for key in STATE_DICT_KEYS if key in whole]
    if usual and not averaged:
        return usual[0]
    raise BadInput(
        f"{path} holds several state dicts",
        f"its keys are {', '.join(repr(shorten(label)) for label in list(whole)[:12])}",
        f"choose one with --weights-key, or save it under one of the keys {', '.join(STATE_DICT_KEYS)}",
    )


def _candidates(content: Any) -> dict[str, Candidate]:
    """Return key → state dict: the file's own, those in its dictionary, and those under a usual key one level down."""
    if _is_state_dict(content):
        return _split("", content)
    candidates: dict[str, Candidate] = {}
    for key, value in content.items() if isinstance(content, dict) else ():
        if not isinstance(key, str):
            continue
        if _is_state_dict(value):
            candidates |= _split(key, value)
        elif isinstance(value, dict) and AVERAGED.search(key):
            for inner, state in value.items():
                if isinstance(inner, str) and _is_state_dict(state):
                    candidates |= _split(f"{key}.{inner}", state)
    return candidates


def _split(key: str, state: StateDict) -> dict[str, Candidate]:
    """Split a state dict in which several networks have prefixes, such as ``model.`` and ``ema_model.``."""
    counts: dict[str, int] = defaultdict(int)
    for name in state:
        plain = _without_wrappers(name)
        if match := FIRST_LAYERS.search(plain):
            counts[plain[: match.start(1)]] += 1
    most = max(counts.values(), default=0)
    prefixes = [prefix for prefix, count in counts.items() if count >= most / 2][:MOST_NETWORKS] or [""]
    members: dict[str, dict[str, Any]] = {prefix: {} for prefix in sorted(prefixes, key=len, reverse=True)}
    loose: dict[str, Any] = {}
    for name, tensor in state.items():
        if name.rsplit(".", 1)[-1] in BOOKKEEPING and elements(tensor) == 1 and not FIRST_LAYERS.search(name):
            continue
        plain = _without_wrappers(name)
        own = next((prefix for prefix in members if plain.startswith(prefix)), None)
        (loose if own is None else members[own])[name] = tensor
    if len(members) == 1:
        [(prefix, tensors)] = members.items()
        return {key: Candidate({**tensors, **loose}, prefix)}
    return {
        ".".join(filter(None, (key, prefix.strip(".")))): Candidate({**tensors, **loose}, prefix)
        for prefix, tensors in members.items()
    }


def _normalized(path: Path, label: str, candidate: Candidate, other_keys: tuple[str, ...]) -> Choice:
    """Strip prefix and wrappers."""
    state: dict[str, Any] = {}
    names_in_file: dict[str, str] = {}
    for name, tensor in candidate.state.items():
        canonical = candidate.layer(name)
        if canonical in state:
            raise BadInput(
                f"{path} holds one layer twice",
                f"{names_in_file[canonical]!r} and {shorten(name)!r} both mean {shorten(canonical)!r}",
                "remove one of the two spellings and save the file again",
            )
        state[canonical], names_in_file[canonical] = tensor, shorten(name)
    return Choice(shorten(label), state, names_in_file, other_keys)


def _no_state_dict(path: Path, content: Any) -> BadInput:
    if not isinstance(content, dict):
        kind = "Tensor" if isinstance(content, PickledTensor) else type(content).__name__
        advice = "save the network's state_dict() instead"
        return BadInput(f"{path} holds no state dict", f"an object of type {kind}", advice)
    keys = ", ".join(shorten(repr(key)) for key in list(content)[:12]) or "no keys at all"
    advice = f"save the weights under one of the keys {', '.join(STATE_DICT_KEYS)}"
    return BadInput(f"{path} holds no state dict", f"its keys are {keys}", advice)


def _is_state_dict(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and len(value) > 0
        and all(
            isinstance(k, str) and isinstance(v, torch.Tensor | PickledTensor | OtherTensor) for k, v in value.items()
        )
    )
