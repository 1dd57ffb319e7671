"""Functions that the client calls on Dask workers. They are looked up by name there: none of our code is sent."""

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


async def store(digest: str, content: bytes) -> bool:
    """Store a file; return False if its hash is another."""
    return await asyncio.to_thread(device.blobs().store, digest, content)


def run_job(spec: str, again: bool) -> dict[str, Any]:
    """Carry out a ``JobSpec`` in JSON; return an ``Answer`` as plain data."""
    from distributed import get_worker

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
    answer = device.run_job(job, again, on_progress)
    return answer.model_copy(update={"worker": str(worker.name)}).model_dump()
