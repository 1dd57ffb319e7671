"""Who is there and what it is, through one connection to a scheduler: the roster is kept up to date with it."""

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from bench.fleet.dask_client import greet, known_workers
from bench.fleet.delivery import DeviceLost, Undelivered, place_of
from bench.fleet.pulse import Pulse
from bench.fleet.roster import Known, Roster


class Watch:
    """Looks when it is told to. A device that does not answer keeps nobody waiting: each is asked by a thread of its
    own, which ends with the answer or with the connection.

    Args:
        client: a ``distributed.Client``.
        roster: is told who is there.
        jobs: all of the run, so that devices can say which of them they have done.
    """

    def __init__(self, client: Any, roster: Roster, jobs: list[str]) -> None:
        self._client, self._roster, self._jobs, self._pulse = client, roster, jobs, Pulse()
        self._asked: dict[str, threading.Event] = {}
        """Address of a worker that was asked what it is → set as soon as it has answered, or is late."""

    def look(self) -> Sequence[threading.Event]:
        """Ask the scheduler who is there, and whoever is new, or was silent, what it is; does not wait for them.

        Returns:
            For each that is asked what is set when something can be said of it.

        Raises:
            LOST: the scheduler does not answer.
        """
        workers = known_workers(self._client)
        unheard = self._roster.only(workers)
        silent = self._pulse.silent({address: float(about["last_seen"]) for address, about in workers.items()})
        for address, reason in silent.items():
            self._roster.silent(address, _known(workers[address]), reason)
        for address in sorted(unheard - silent.keys() - set(self._asked)):
            self._asked[address] = threading.Event()
            threading.Thread(target=self._greet, args=(address, workers[address]), daemon=True).start()
        return list(self._asked.values())

    def _greet(self, address: str, about: Mapping[str, Any]) -> None:
        known, settled = _known(about), self._asked[address]

        def late(reason: str) -> None:
            self._roster.silent(address, known, reason)
            settled.set()

        try:
            self._roster.seen(address, greet(self._client, address, about, self._jobs, late))
        except Undelivered as trouble:
            self._roster.strange(address, known, str(trouble))
        except DeviceLost as loss:
            if not settled.is_set():  # or it has its reason already; it is asked again the next time
                self._roster.silent(address, known, str(loss))
        except Exception as fault:  # of what it answered something got through
            self._roster.strange(address, known, f"an error that was not foreseen: {place_of(fault)}")
        finally:
            self._asked.pop(address, None)
            settled.set()


def _known(about: Mapping[str, Any]) -> Known:
    return Known(str(about["name"]), dict(about["resources"]))
