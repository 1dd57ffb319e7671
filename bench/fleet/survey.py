"""Who is in the fleet, without giving anybody anything to do."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

from bench.fleet import device
from bench.fleet.address import Certificates
from bench.fleet.executor import HERE
from bench.fleet.spec import DeviceFacts
from export.errors import NotPossible


def this_machine() -> DeviceFacts:
    """What a worker here would say."""
    return DeviceFacts.model_validate_json(device.hello([])).model_copy(update={"worker": HERE})


def connected(address: str, certificates: Certificates) -> tuple[Sequence[DeviceFacts], Sequence[str]]:
    """All workers of the scheduler there, by name; and those that do not answer as ours do, with the reason.

    Raises:
        NotPossible: Dask is not installed, or no scheduler answers.
        BadInput: certificates that cannot be used.
    """
    from bench.fleet.dask_client import LOST, connect, greet, in_a_line, known_workers
    from bench.fleet.delivery import DeviceLost, Undelivered

    def answer(worker: str, about: Mapping[str, Any]) -> DeviceFacts | str:
        try:
            return greet(client, worker, about, [])
        except (DeviceLost, Undelivered) as trouble:
            return f"{about['name']}: {trouble}"

    with closing(connect(address, certificates)) as client:
        try:
            workers = known_workers(client)
        except LOST as error:
            raise NotPossible(f"the scheduler at {address} does not answer", in_a_line(error), "restart it") from error
        with ThreadPoolExecutor(max(1, len(workers))) as pool:  # so that one that hangs keeps no other waiting
            answers = list(pool.map(answer, workers, workers.values()))
    found = sorted((a for a in answers if isinstance(a, DeviceFacts)), key=lambda facts: facts.worker)
    return found, sorted(a for a in answers if isinstance(a, str))
