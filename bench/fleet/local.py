"""Jobs carried out on this machine, one after the other, which stands in for every kind of device."""

from functools import partial

from bench.fleet import device
from bench.fleet.record import DeviceRecord
from bench.fleet.run import Run
from bench.fleet.spec import DeviceFacts

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
    sources = run.plan.sources
    for spec in run.unfinished():
        run.progress(spec, HERE, "")
        answer = device.run_job(spec, again, sources.read, partial(run.progress, spec, HERE))
        run.end(spec, answer.model_copy(update={"outcome": answer.outcome.model_copy(update={"worker": HERE})}))
