"""A thread that writes while the next batch is computed."""

import threading
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

Job = Callable[[], None]

QUEUE_BYTES = 64 * 2**20
"""Bytes that may wait to be written; a larger job waits until the queue is empty."""

LOOK_SECONDS = 0.2
"""Waiting is cut into such pieces: a signal that comes just before a wait is noticed after it."""


class BackgroundWriter:
    """Runs jobs in the order they were submitted, in one thread, with bounded memory.

    The first error of a job is raised by the next `submit`, or when the block ends; jobs after it
    are not run. When the block ends with an error of its own, waiting jobs are dropped.

    Parameters
    ----------
    max_bytes : int
        `submit` waits as long as more than this would be in the queue.
    """

    def __init__(self, max_bytes: int = QUEUE_BYTES) -> None:
        self._max_bytes = max_bytes
        self._jobs: deque[tuple[Job, int]] = deque()
        self._bytes = 0
        self._closing = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="reprostore-writer", daemon=True)

    def __enter__(self) -> Self:
        """Start the thread."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Finish all jobs, or drop them when the block failed, and raise a job's error."""
        with self._changed:
            if error is not None:
                self._drop()
            self._closing = True
            self._changed.notify_all()
        try:
            self._wait()  # an interrupted `join` takes the thread for ended
        except BaseException:  # interrupted: the job that runs is finished, the others are not
            with self._changed:
                self._drop()
            self._wait()
            raise
        self._thread.join()
        if self._error is not None and error is None:
            raise self._error

    def submit(self, job: Job, nbytes: int = 0) -> None:
        """Queue a job that holds `nbytes` of memory; wait while the queue is full.

        Raises
        ------
        BaseException
            What an earlier job raised.
        """
        with self._changed:
            while not self._changed.wait_for(
                lambda: (
                    self._error is not None
                    or self._bytes == 0
                    or self._bytes + nbytes <= self._max_bytes
                ),
                LOOK_SECONDS,
            ):
                pass
            if self._error is not None:
                raise self._error
            self._jobs.append((job, nbytes))
            self._bytes += nbytes
            self._changed.notify_all()

    def _wait(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            pass

    def _drop(self) -> None:
        self._jobs.clear()
        self._bytes = 0

    def _work(self) -> None:
        try:
            self._run_jobs()
        finally:
            self._ended.set()

    def _run_jobs(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._jobs) or self._closing)
                if not self._jobs:
                    return
                job, nbytes = self._jobs.popleft()
            try:
                job()
            except BaseException as error:
                with self._changed:
                    self._error = error
                    self._drop()
                    self._changed.notify_all()
                return
            del job  # the job holds a batch: let it go before the next is waited for
            with self._changed:
                self._bytes = max(0, self._bytes - nbytes)
                self._changed.notify_all()
