"""``config.pbtxt``: a model's description for Triton, as text of its protobuf schema ``model_config.proto``."""

from dataclasses import dataclass

QUEUE_DELAY_US = 1000
"""Longest time that a request waits for others to share a batch: an eighth of the 8 ms that S took on two cores."""


@dataclass(frozen=True)
class Tensor:
    """An input or output; ``dims`` without the batch."""

    name: str
    type: str
    """Triton's name of the type without its prefix, such as ``UINT8``."""
    dims: tuple[int, ...]

    @property
    def shape(self) -> str:
        """Type and sizes."""
        return f"data_type: TYPE_{self.type} dims: [ {', '.join(map(str, self.dims))} ]"

    def __str__(self) -> str:
        return f'name: "{self.name}" {self.shape}'


def model_config(name: str, max_batch: int, source: Tensor, target: Tensor, *, on_gpu: bool) -> str:
    """Return a model with dynamic batching: a TensorRT plan on the GPU, or an ONNX file on the processor.

    Its smallest and its largest batch run before the first request.
    """
    backend, kind = ("tensorrt", "KIND_GPU") if on_gpu else ("onnxruntime", "KIND_CPU")
    warm_up = ",\n  ".join(
        f'{{ name: "batch of {size}" batch_size: {size} '
        f'inputs {{ key: "{source.name}" value: {{ {source.shape} zero_data: true }} }} }}'
        for size in dict.fromkeys((1, max_batch))
    )
    return (
        f'name: "{name}"\nbackend: "{backend}"\nmax_batch_size: {max_batch}\n'
        f"input [ {{ {source} }} ]\noutput [ {{ {target} }} ]\n"
        f"instance_group [ {{ kind: {kind} count: 1 }} ]\n"
        f"dynamic_batching {{ max_queue_delay_microseconds: {QUEUE_DELAY_US} }}\n"
        f"model_warmup [\n  {warm_up}\n]\n"
    )
