"""Jobs carried out on this machine, one after the other, which stands in for every kind of device."""

from bench.fleet import device
from bench.fleet.record import DeviceRecord
from bench.fleet.run import Run
from bench.fleet.spec import Answer, DeviceFacts, JobSpec, Outcome

HERE = "here"


def this_machine() -> DeviceFacts:
    """Return what a worker here would say of itself."""
    return device.device_facts([]).model_copy(update={"worker": HERE})


def run_locally(run: Run, *, again: bool) -> None:
    """Carry out what is not finished; ``again``: and what is."""
    facts = this_machine()
    kinds = list(dict.fromkeys(spec.device for spec in run.plan.specs))
    about = DeviceRecord(
        worker=HERE,
        kinds=kinds,
        state="ready",
        machine=facts.machine,
        environment=facts.environment,
        fingerprint=facts.fingerprint,
    )
    run.reopen([about], again=again)
    for spec in run.unfinished():
        run.progress(spec, HERE, "")
        answer = _answer(run, spec, again)
        assert answer.outcome is not None
        run.end(spec, answer.model_copy(update={"outcome": answer.outcome.model_copy(update={"worker": HERE})}))


def _answer(run: Run, spec: JobSpec, again: bool) -> Answer:
    sources, here = run.plan.sources, device.blobs()
    if gone := sources.lacking(spec.files.values()):
        reason = f"{len(gone)} of its files are damaged or gone: convnextpose fleet run, and not resume, makes them"
        return Answer(outcome=Outcome(job=spec.id, state="failed", reason=reason))
    for digest in set(spec.files.values()):
        here.add(sources.path(digest))
    return device.run_job(spec, again, lambda text: run.progress(spec, HERE, text))
