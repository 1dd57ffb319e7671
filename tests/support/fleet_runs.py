"""Runs through a cluster of ``tests.support.fleet_cluster``, or here, without a command line."""

from typing import Any

from bench.fleet.address import Scheduler
from bench.fleet.client import run_fleet
from bench.fleet.plan import FleetPlan
from bench.fleet.record import FleetRecord
from tests.support.fleet_cluster import Cluster
from tests.support.fleet_plans import nothing


def carry_out(plan: FleetPlan, cluster: Cluster, on_change: Any = nothing, wait_s: float = 20) -> FleetRecord:
    return run_fleet(plan, Scheduler(cluster.address, wait_s=wait_s), on_change)


def states(record: FleetRecord) -> list[tuple[str, str, str]]:
    return [(job.spec.name, job.state, job.worker) for job in record.jobs]
