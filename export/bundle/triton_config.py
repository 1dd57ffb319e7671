"""``config.pbtxt``: what Triton is told of a model, as text of its protobuf schema ``model_config.proto``."""

from dataclasses import dataclass

QUEUE_DELAY_US = 1000
"""How long a request waits for others to share a batch with: an eighth of the 8 ms that S took on two cores."""


@dataclass(frozen=True)
class Tensor:
    """An input or output; ``dims`` without the batch."""

    name: str
    kind: str
    """As in ``UINT8``."""
    dims: tuple[int, ...]

    @property
    def shape(self) -> str:
        """Type and sizes."""
        return f"data_type: TYPE_{self.kind} dims: [ {', '.join(map(str, self.dims))} ]"

    def __str__(self) -> str:
        return f'name: "{self.name}" {self.shape}'


def served(name: str, most: int, given: Tensor, made: Tensor, *, plan: bool, on_gpu: bool) -> str:
    """A model that a backend runs, a ``plan`` of TensorRT or an ONNX file: requests that wait together become a batch.

    Both ends of it are run before the first request, if they are two.
    """
    backend, kind = "tensorrt" if plan else "onnxruntime", "KIND_GPU" if on_gpu else "KIND_CPU"
    warm_up = ",\n  ".join(
        f'{{ name: "batch of {size}" batch_size: {size} '
        f'inputs {{ key: "{given.name}" value: {{ {given.shape} zero_data: true }} }} }}'
        for size in dict.fromkeys((1, most))
    )
    return (
        f'name: "{name}"\nbackend: "{backend}"\nmax_batch_size: {most}\n'
        f"input [ {{ {given} }} ]\noutput [ {{ {made} }} ]\n"
        f"instance_group [ {{ kind: {kind} count: 1 }} ]\n"
        f"dynamic_batching {{ max_queue_delay_microseconds: {QUEUE_DELAY_US} }}\n"
        f"model_warmup [\n  {warm_up}\n]\n"
    )


def ensemble(name: str, most: int, tensors: tuple[Tensor, Tensor, Tensor], steps: tuple[str, str]) -> str:
    """Two models in a row; ``tensors`` are what goes into the first, what it hands on, and what the second gives.

    The ensemble's input is named as the second model's, whatever the first calls it.
    """
    given, between, made = tensors
    first, second = steps
    return (
        f'name: "{name}"\nplatform: "ensemble"\nmax_batch_size: {most}\n'
        f'input [ {{ name: "{between.name}" {given.shape} }} ]\noutput [ {{ {made} }} ]\n'
        "ensemble_scheduling { step [\n"
        f'  {{ model_name: "{first}" model_version: -1 input_map {{ key: "{given.name}" value: "{between.name}" }} '
        f'output_map {{ key: "{between.name}" value: "normalised" }} }},\n'
        f'  {{ model_name: "{second}" model_version: -1 input_map {{ key: "{between.name}" value: "normalised" }} '
        f'output_map {{ key: "{made.name}" value: "{made.name}" }} }}\n'
        "] }\n"
    )
