"""Calls side by side: results, failures, order, and how they are stopped."""

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time

import pytest
from commands import environment
from job_calls import fail, square

from reprostore.errors import ProcessError, SpecError
from reprostore.jobs import Job, run_jobs


@pytest.fixture(params=[1, 2], ids=["one process", "two processes"])
def processes(request):
    return request.param


def test_results_and_progress_of_every_job(processes):
    told = []
    jobs = [Job(f"job {n}", square, {"number": n}) for n in range(4)]
    outcomes = run_jobs(jobs, processes, lambda name, values: told.append((name, values)))
    assert {name: value for name, (value, _) in outcomes.results.items()} == {
        f"job {n}": n**2 for n in range(4)
    }
    assert sorted(told) == [(f"job {n}", (n, "half way")) for n in range(4)]
    pids = {pid for _, pid in outcomes.results.values()}
    assert (os.getpid() in pids, len(pids)) == ((True, 1) if processes == 1 else (False, 2))
    assert outcomes.errors == {}


def test_a_failure_lets_the_others_finish(processes):
    jobs = [
        Job("a", fail, {"kind": "mistake"}),
        Job("b", square, {"number": 2}),
        Job("after a", square, {"number": 3}, after="a"),
        Job("after b", square, {"number": 4}, after="b"),
        Job("c", fail, {"kind": "bug"}),
    ]
    outcomes = run_jobs(jobs, processes)
    assert {name: value for name, (value, _) in outcomes.results.items()} == {"b": 4, "after b": 16}
    assert {name: type(error) for name, error in outcomes.errors.items()} == {
        "a": SpecError,
        "c": ZeroDivisionError,
    }
    assert outcomes.errors["a"].parts == ("Found.", "Expected.", "Do.")


def test_jobs_run_in_order_but_for_those_that_wait():
    jobs = [
        Job("last", square, {"number": 1}, after="first"),
        Job("middle", square, {"number": 2}),
        Job("first", square, {"number": 3}),
    ]
    assert list(run_jobs(jobs, 1).results) == ["middle", "first", "last"]


def test_a_traceback_comes_along_from_the_other_process():
    jobs = [Job("bug", fail, {"kind": "bug"}), Job("local", fail, {"kind": "local"})]
    errors = run_jobs(jobs, 2).errors
    assert "in fail" in errors["bug"].__notes__[0]
    assert type(errors["local"]) is RuntimeError  # its class exists there alone
    assert "LocalError: told" in str(errors["local"])


def test_a_process_that_is_killed_fails_its_job_alone():
    jobs = [
        Job("killed", fail, {"kind": "killed"}),
        *(Job(str(n), square, {"number": n}) for n in range(3)),
    ]
    outcomes = run_jobs(jobs, 2)
    assert set(outcomes.results) == {"0", "1", "2"}
    error = outcomes.errors["killed"]
    assert isinstance(error, ProcessError)
    assert "The process of killed ended with code -9." in str(error)
    assert pickle.loads(pickle.dumps(error)).parts == error.parts


def test_an_error_here_ends_the_processes(tmp_path):
    from job_calls import report_for_ever

    def refuse(name, values):
        raise RuntimeError("no terminal")

    jobs = [Job(n, report_for_ever, {"folder": str(tmp_path), "name": n}) for n in "ab"]
    with pytest.raises(RuntimeError, match="no terminal"):
        run_jobs(jobs, 2, refuse)
    assert multiprocessing.active_children() == []
    begun = {path.stem for path in tmp_path.glob("*.begun")}
    saved = {path.stem for path in tmp_path.glob("*.saved")}
    assert begun == saved != set()  # those who come to their end save nothing


SCRIPT = """\
import sys
from job_calls import report_for_ever, wait_and_save
from reprostore.jobs import Job, run_jobs

if __name__ == "__main__":
    call = {"wait": wait_and_save, "report": report_for_ever}[sys.argv[2]]
    try:
        run_jobs([Job(n, call, {"folder": sys.argv[1], "name": n}) for n in "abc"], 2)
    except KeyboardInterrupt:
        sys.exit(130)
"""


def start(folder, call):
    """Start a process with two jobs, in a process group of its own, and wait for these."""
    (folder / "script.py").write_text(SCRIPT)
    paths = {"PYTHONPATH": os.pathsep.join([*sys.path, os.path.dirname(__file__)])}  # noqa: PTH120
    process = subprocess.Popen(
        [sys.executable, folder / "script.py", folder, call],
        env=environment(**paths),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    appear(folder, "begun")
    return process


def appear(folder, kind):
    deadline = time.monotonic() + 60
    while len(list(folder.glob(f"*.{kind}"))) < 2:
        assert time.monotonic() < deadline, f"no {kind}"
        time.sleep(0.02)


@pytest.mark.parametrize("whole_group", [True, False], ids=["terminal", "kill"])
def test_ctrl_c_lets_every_job_save_its_work_once(tmp_path, whole_group):
    process = start(tmp_path, "wait")
    (os.killpg if whole_group else os.kill)(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, "")
    saved = {path.name: path.read_text() for path in tmp_path.glob("*.saved")}
    assert saved == {"a.saved": "saved\n", "b.saved": "saved\n"}


def test_jobs_save_their_work_when_who_started_them_is_killed(tmp_path):
    process = start(tmp_path, "report")
    process.kill()
    process.communicate(timeout=60)
    appear(tmp_path, "saved")
