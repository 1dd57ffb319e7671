"""What a task's end says of its device: an answer, not yet one, a failure of the job, or a loss."""

import time

import pytest

from bench.fleet.dask_client import is_loss
from bench.fleet.dask_executor import answer_of
from bench.fleet.delivery import Undelivered

distributed = pytest.importorskip("distributed")


def timed_out() -> str:
    raise TimeoutError("the disk does not answer")


def test_a_job_that_times_out_by_itself_has_failed_and_is_not_waited_for() -> None:
    with distributed.Client(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None) as client:
        slow = client.submit(time.sleep, 1, pure=False)
        assert answer_of(slow, 0.1) is None
        failed = client.submit(timed_out, pure=False)
        distributed.wait([failed])
        with pytest.raises(Undelivered, match="the disk does not answer"):
            answer_of(failed, 0.1)
        slow.cancel()


def test_an_error_that_comes_as_the_time_for_waiting_ends_is_no_time_out_of_the_job() -> None:
    class Late:
        status = "error"

        def result(self, timeout: float) -> str:
            raise TimeoutError

        def exception(self, timeout: float) -> Exception:
            return OSError("Timed out trying to connect")

    assert answer_of(Late(), 0.1) is None


def test_a_closed_call_to_a_worker_is_a_loss_and_no_failure() -> None:
    assert is_loss(distributed.core.RPCClosed("RPC Closed: while trying to call remote method 'run'"))
    assert not is_loss(ValueError("a job's own"))
