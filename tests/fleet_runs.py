"""Runs through a cluster of ``tests.fleet_cluster``, and what is looked at while they go on."""

import threading
from collections.abc import Callable
from typing import Any

from bench.fleet.address import Certificates
from bench.fleet.dask_executor import DaskExecutor
from bench.fleet.plan import FleetPlan
from bench.fleet.record import FleetRecord
from bench.fleet.run import run_fleet
from tests.fleet_cluster import Cluster, until
from tests.fleet_plans import nothing
from tests.fleet_stand_in import times_measured as times_measured_on

PRELOAD = ("--preload", "tests.fleet_stand_in")


def carry_out(plan: FleetPlan, cluster: Cluster, on_change: Any = nothing, wait_s: float = 20) -> FleetRecord:
    return carry_out_at(plan, cluster.address, on_change, wait_s)


def carry_out_at(plan: FleetPlan, address: str, on_change: Any = nothing, wait_s: float = 20) -> FleetRecord:
    def open_executor(on_work: Any) -> DaskExecutor:
        return DaskExecutor(address, Certificates(), plan.specs, plan.sources, on_work, wait_s=wait_s)

    return run_fleet(plan, open_executor, on_change, scheduler=address)


def times_measured(cluster: Cluster, *names: str) -> int:
    return sum(times_measured_on(cluster.device(name)) for name in names)


def when_measuring(cluster: Cluster, name: str, then: Callable[[], None]) -> None:
    """In the background, as soon as that device has begun with a job."""

    def wait() -> None:
        until(lambda: times_measured(cluster, name), f"{name} measures")
        then()

    threading.Thread(target=wait, daemon=True).start()


def states(record: FleetRecord) -> list[tuple[str, str, str]]:
    return [(job.spec.name, job.state, job.worker) for job in record.jobs]
