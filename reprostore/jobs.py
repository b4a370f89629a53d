"""Calls that run side by side in processes of their own, can be stopped, and report progress."""

import contextlib
import multiprocessing
import pickle
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from types import FrameType
from typing import Any

from reprostore.errors import ProcessError

Report = Callable[[str, tuple[Any, ...]], None]
"""(name of the job, what its call gave to `progress`) → None."""


@dataclass(frozen=True)
class Job:
    """One call.

    Attributes
    ----------
    name : str
        Names it in the outcomes.
    call : callable
        A function of a module; gets `arguments`, and `progress`, to which it may give any values
        that can be pickled.
    arguments : mapping
        Keyword arguments that can be pickled.
    after : str, optional
        Name of the job that has to succeed before this one starts.
    """

    name: str
    call: Callable[..., Any]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    after: str | None = None


@dataclass
class Outcomes:
    """What came out of jobs, by name.

    Attributes
    ----------
    results : dict
        What the calls returned.
    errors : dict
        What they raised. Jobs that were to come after one of these are in neither.
    """

    results: dict[str, Any] = field(default_factory=dict)
    errors: dict[str, Exception] = field(default_factory=dict)


def run_jobs(jobs: Sequence[Job], processes: int, report: Report | None = None) -> Outcomes:
    """Run jobs, in their order as far as `after` allows.

    One that fails lets the others go on. With one process all run in this one. When this process
    is interrupted, so is every running call, once: KeyboardInterrupt is raised in it, at a moment
    of its choice if it uses `reprostore.interrupts.deferred`, and then here.

    Parameters
    ----------
    jobs : sequence of Job
        With distinct names. Those that wait for a job that is not among these never run.
    processes : int
        How many run at a time, at least 1.
    report : callable, optional
        Called in this process with what the jobs report.

    Returns
    -------
    Outcomes
        Results and errors.
    """
    outcomes = Outcomes()
    if processes == 1:
        waiting = list(jobs)
        while (job := _startable(waiting, outcomes)) is not None:
            waiting.remove(job)
            try:
                outcomes.results[job.name] = job.call(
                    **job.arguments, progress=_reporter(report, job.name)
                )
            except Exception as error:
                outcomes.errors[job.name] = error
        return outcomes
    with _workers() as workers:
        _run_in_processes(list(jobs), min(processes, len(jobs)), report, outcomes, workers)
    return outcomes


def _startable(waiting: Sequence[Job], outcomes: Outcomes) -> Job | None:
    """Return the first job that waits for nothing more."""
    return next((j for j in waiting if j.after is None or j.after in outcomes.results), None)


def _reporter(report: Report | None, name: str) -> Callable[..., None]:
    return lambda *values: None if report is None else report(name, values)


class _Worker:
    """A process that makes one call after the other."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs,), daemon=True)
        self.job: Job | None = None
        # Ctrl-C reaches every process of a terminal: there it stays blocked for their whole life,
        # so that only this process decides when they stop, and each hears of it once.
        resource_tracker.ensure_running()  # which the start would do, and unblock the signal
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()

    def start(self, job: Job) -> None:
        self.job = job
        self.connection.send((job.call, dict(job.arguments)))

    def died(self, job: Job) -> ProcessError:
        self.process.join()
        return ProcessError(
            f"The process of {job.name} ended with code {self.process.exitcode}.",
            "It ends when its work is done; -9 is what a system does that runs out of memory.",
            "Run fewer jobs side by side, or make room, and run the same command again.",
        )


@contextlib.contextmanager
def _workers() -> Iterator[list[_Worker]]:
    """Yield a list of workers, and end all that are in it."""
    workers: list[_Worker] = []
    try:
        yield workers
    except BaseException:
        for worker in workers:
            worker.process.terminate()
        raise
    finally:
        try:
            for worker in workers:
                worker.connection.close()
                worker.process.join()
        except BaseException:  # interrupted again: nobody wants to wait
            for worker in workers:
                worker.process.kill()
            raise


def _run_in_processes(
    waiting: list[Job],
    processes: int,
    report: Report | None,
    outcomes: Outcomes,
    workers: list[_Worker],
) -> None:
    while True:
        busy = [worker for worker in workers if worker.job is not None]
        while len(busy) < processes and (job := _startable(waiting, outcomes)) is not None:
            waiting.remove(job)
            idle = next((worker for worker in workers if worker.job is None), None)
            if idle is None:
                idle = _Worker()
                workers.append(idle)
            idle.start(job)
            busy.append(idle)
        if not busy:
            return
        ready = wait([worker.connection for worker in busy])
        for worker in [worker for worker in busy if worker.connection in ready]:
            _receive(worker, report, outcomes, workers)


def _receive(
    worker: _Worker, report: Report | None, outcomes: Outcomes, workers: list[_Worker]
) -> None:
    """Take one message of a worker that has sent one, or has died."""
    job = worker.job
    assert job is not None
    try:
        kind, value = worker.connection.recv()
    except (EOFError, OSError):
        outcomes.errors[job.name] = worker.died(job)
        worker.connection.close()
        workers.remove(worker)
        return
    if kind == "progress":
        _reporter(report, job.name)(*value)
        return
    worker.job = None
    (outcomes.results if kind == "result" else outcomes.errors)[job.name] = value


def _work(connection: Connection) -> None:
    """Make calls until there are no more, or until the process is told to end."""
    signal.signal(signal.SIGTERM, _interrupt)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")

    def progress(*values: object) -> None:
        try:
            connection.send(("progress", values))
        except OSError as error:  # who started this is gone: let the call save its work
            raise KeyboardInterrupt from error

    with contextlib.suppress(EOFError, OSError, KeyboardInterrupt):
        while True:
            call, arguments = connection.recv()
            try:
                message = ("result", call(**arguments, progress=progress))
            except Exception as error:
                message = ("error", _portable(error))
            connection.send(message)


def _interrupt(_number: int, frame: FrameType | None) -> None:
    """Do once what Ctrl-C would do."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler):
        raise KeyboardInterrupt
    handler(signal.SIGINT, frame)


def _portable(error: Exception) -> Exception:
    """Return an error as it crosses to another process, with the traceback of this one."""
    told = "".join(traceback.format_exception(error))
    error.add_note(f"In a process of its own:\n{told}")
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # errors that take other arguments than they keep
        return RuntimeError(told)
    return error
