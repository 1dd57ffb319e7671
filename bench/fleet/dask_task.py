"""What a Dask worker is asked to do. Everything is looked up by its name there: no code of ours travels."""

import asyncio
import time
from typing import Any

from bench.fleet import device
from bench.fleet.spec import phase

TOPIC = "convnextpose-fleet"
SAY_EVERY_S = 15.0
"""While it measures, a device has better things to do than to say how far it is; a new phase it tells at once."""


async def hello(jobs: list[str]) -> str:
    """See ``bench.fleet.device``; like the next three it works beside the event loop, so that heartbeats go on."""
    return await asyncio.to_thread(device.hello, jobs)


async def lacking(digests: list[str]) -> list[str]:
    """See ``bench.fleet.device``."""
    return await asyncio.to_thread(device.lacking, digests)


async def store(digest: str, content: bytes) -> bool:
    """See ``bench.fleet.device``."""
    return await asyncio.to_thread(device.store, digest, content)


async def fetch(digest: str) -> bytes:
    """See ``bench.fleet.device``."""
    return await asyncio.to_thread(device.fetch, digest)


def run_job(job: str, spec: str, again: bool) -> str:
    """See ``bench.fleet.device``; ``job``, the specification's id, is what events about it are called."""
    from distributed import get_worker

    worker: Any = get_worker()
    last_time, last_text = float("-inf"), ""

    def told(text: str) -> None:
        nonlocal last_time, last_text
        often = text == last_text or time.monotonic() - last_time <= SAY_EVERY_S
        if not often or phase(text) != phase(last_text):
            last_time, last_text = time.monotonic(), text
            worker.log_event(TOPIC, {"job": job, "text": text})

    return device.run_job(spec, again, told)
