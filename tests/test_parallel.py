from __future__ import annotations

import os
import signal

import pytest

from petmood.errors import RunError
from petmood.parallel import cores, followed, progress, run_tasks


def _square(number: int) -> int:
    return number * number


def _killed(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def _fails(number: int) -> int:
    if number == 3:
        raise RunError("three is too many.", hint="give two")
    return number


def test_jobs_are_taken_as_given_and_zero_means_all_cores():
    assert cores(3) == 3
    assert cores(0) == cores(-1) >= 1


def test_one_job_runs_in_this_process_as_results_are_asked_for():
    asked = []
    results = run_tasks(asked.append, [1, 2, 3], jobs=1)
    next(results)
    assert asked == [1]


def test_results_come_in_the_order_of_the_tasks_from_two_processes():
    assert list(run_tasks(_square, range(20), jobs=2)) == [number**2 for number in range(20)]


def test_no_tasks_give_no_results():
    assert list(run_tasks(_square, [], jobs=2)) == []


def test_an_error_in_another_process_arrives_with_its_hint():
    with pytest.raises(RunError) as caught:
        list(run_tasks(_fails, range(6), jobs=2))
    assert str(caught.value) == "three is too many.\nhint: give two"


# joblib warns of the killed process first; on a screen that is one more line.
@pytest.mark.filterwarnings("ignore:A worker stopped")
def test_a_killed_process_is_told_as_lack_of_memory():
    with pytest.raises(RunError, match="a worker process was killed, one of 2") as caught:
        list(run_tasks(_killed, range(6), jobs=2))
    assert "--jobs 1" in caught.value.hint


def test_followed_passes_results_on_and_tells_their_size():
    told = []
    assert list(followed(iter([3, 4]), told.append, int)) == [3, 4]
    assert told == [3, 4]


def test_progress_shows_title_amount_rate_and_time_on_standard_error(capsys):
    with progress("index", 10, "clips") as advance:
        advance(10)
    told = capsys.readouterr()
    assert told.out == ""
    assert "index" in told.err
    assert "10/10" in told.err
    assert "left" in told.err


def test_quiet_progress_writes_nothing(capsys):
    with progress("index", 10, "clips", quiet=True) as advance:
        advance(10)
    assert capsys.readouterr() == ("", "")
