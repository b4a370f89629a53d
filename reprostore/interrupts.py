"""Ctrl-C at a moment that suits the work."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def deferred() -> Iterator[Callable[[], None]]:
    """Keep Ctrl-C until it is asked for: half a step of a training is no state to go on from.

    A second Ctrl-C does not wait. Outside the main thread, which alone receives signals, and where
    they are ignored, nothing is changed.

    Yields
    ------
    callable
        Raises KeyboardInterrupt if there was a Ctrl-C. What was not asked for is raised at the
        end.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield lambda: None
        return
    received = False

    def keep(number: int, frame: FrameType | None) -> None:
        nonlocal received
        received = True
        signal.signal(signal.SIGINT, before)

    def check() -> None:
        nonlocal received
        if received:
            received = False
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, keep)
    try:
        yield check
        check()
    finally:
        signal.signal(signal.SIGINT, before)
