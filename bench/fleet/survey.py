"""Who is in the fleet, without giving anybody anything to do."""

from collections.abc import Sequence
from contextlib import closing

from bench.fleet import device
from bench.fleet.address import Certificates
from bench.fleet.executor import HERE
from bench.fleet.spec import DeviceFacts


def this_machine() -> DeviceFacts:
    """What a worker here would say."""
    return DeviceFacts.model_validate_json(device.hello([])).model_copy(update={"worker": HERE})


def connected(address: str, certificates: Certificates) -> tuple[Sequence[DeviceFacts], Sequence[str]]:
    """All workers of the scheduler there, by name; and those that do not answer as ours do, with the reason.

    Raises:
        NotPossible: Dask is not installed, or no scheduler answers.
        BadInput: certificates that cannot be used.
    """
    from bench.fleet.dask_client import DeviceLost, connect, greet
    from bench.fleet.delivery import Undelivered

    found, silent = list[DeviceFacts](), list[str]()
    with closing(connect(address, certificates)) as client:
        for worker, about in client.scheduler_info()["workers"].items():
            try:
                found.append(greet(client, worker, about, []))
            except (DeviceLost, Undelivered) as trouble:
                silent.append(f"{about['name']}: {trouble}")
    return sorted(found, key=lambda facts: facts.worker), silent
