"""Functions that Dask workers run. Dask sends their names only: the code is that of the worker's own installation."""

import asyncio
from typing import Any

from bench.fleet import device
from bench.fleet.spec import JobSpec

TOPIC = "convnextpose-fleet"
"""Topic of the progress events."""


async def describe(jobs: list[str]) -> str:
    """Return JSON of ``DeviceFacts``; a thread does it, so that the worker's heartbeats continue."""
    facts = await asyncio.to_thread(device.device_facts, jobs)
    return facts.model_dump_json()


def run_job(spec: str, again: bool) -> dict[str, Any]:
    """Do a ``JobSpec`` in JSON; return an ``Answer`` as plain data."""
    from distributed import get_worker

    worker: Any = get_worker()
    job = JobSpec.model_validate_json(spec)
    return device.run_job(job, again, lambda text: worker.log_event(TOPIC, [job.id, text])).model_dump()
