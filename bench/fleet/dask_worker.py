"""Functions that run on Dask workers. They are looked up by name there: none of our code is sent."""

import asyncio
import json
import time
from typing import Any

from bench.fleet import device
from bench.fleet.spec import JobSpec

TOPIC = "convnextpose-fleet"
PROGRESS_EVERY_S = 15.0
"""A device that measures reports progress as rarely as this; something else that it does, at once."""


async def hello(jobs: list[str]) -> str:
    """Return JSON of ``DeviceFacts``; works beside the event loop, so that heartbeats go on."""
    facts = await asyncio.to_thread(device.device_facts, jobs)
    return facts.model_dump_json()


def dataset(run: str, digest: str) -> str:
    """Return the name under which a run's file is published on the scheduler; a restarted client uses it again."""
    return f"convnextpose-fleet/{run}/{digest}"


def run_job(spec: str, again: bool, run: str) -> dict[str, Any]:
    """Carry out a ``JobSpec`` in JSON; ``run`` has published its files. Return an ``Answer`` as plain data."""
    from distributed import get_client, get_worker

    worker: Any = get_worker()
    job = JobSpec.model_validate_json(spec)
    last_time, last_word = float("-inf"), ""

    def on_progress(text: str) -> None:
        nonlocal last_time, last_word
        word = text.partition(" ")[0]
        if word != last_word or time.monotonic() > last_time + PROGRESS_EVERY_S:
            last_time, last_word = time.monotonic(), word
            worker.log_event(TOPIC, json.dumps({"job": job.id, "worker": str(worker.name), "text": text}))

    on_progress("")

    def fetch(digest: str) -> bytes:
        return bytes(get_client().get_dataset(dataset(run, digest)))

    answer = device.run_job(job, again, fetch, on_progress)
    outcome = answer.outcome.model_copy(update={"worker": str(worker.name)})
    return answer.model_copy(update={"outcome": outcome}).model_dump()
