"""Whether a failure is the device's or the job's: which of the two fails elsewhere, too."""

from collections import defaultdict

from bench.fleet.spec import JobSpec

BENCH_AFTER = 3
"""Different models that one device fails in a row: then it is the device and not the models."""

Task = tuple[str, str]
"""What is to be done, whichever device of the kind does it: (resource, model)."""


class Blame:
    """What every device has done and failed. A device is to blame for the models that it has failed since it last did
    a job, without those that others of its kind have failed as well and none has done: that is the model.
    """

    def __init__(self) -> None:
        self._done: defaultdict[Task, set[str]] = defaultdict(set)
        self._failed: defaultdict[Task, set[str]] = defaultdict(set)
        self._since: defaultdict[str, dict[Task, str]] = defaultdict(dict)
        """Device → what it has failed since it last did a job, and how."""

    def did(self, worker: str, spec: JobSpec) -> None:
        """It has done this one, now or at an earlier time."""
        self._done[_task(spec)].add(worker)
        self._since.pop(worker, None)

    def failed(self, worker: str, spec: JobSpec, reason: str) -> None:
        """It has failed at this one."""
        self._failed[_task(spec)].add(worker)
        self._since[worker].pop(_task(spec), None)  # the last one is the one that is named
        self._since[worker][_task(spec)] = reason

    def anew(self, worker: str) -> None:
        """Its worker was started again, perhaps after it was mended."""
        self._since.pop(worker, None)

    def against(self, worker: str) -> str:
        """Why it is given nothing more; empty if it is."""
        own = [reason for task, reason in self._since.get(worker, {}).items() if not self._at_fault(task, worker)]
        if len(own) < BENCH_AFTER:
            return ""
        return f"it failed {len(own)} jobs in a row; the last: {own[-1]}"

    def _at_fault(self, task: Task, worker: str) -> bool:
        """Whether the model fails wherever it is tried, and that is not on this device alone."""
        return not self._done[task] and bool(self._failed[task] - {worker})


def _task(spec: JobSpec) -> Task:
    return spec.resource, spec.model
