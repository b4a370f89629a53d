"""What every fuzzed call keeps to: a result or one of our errors, in bounded time and memory."""

import os
import resource
import signal
import sys
from contextlib import contextmanager
from pathlib import Path

from hypothesis import HealthCheck, settings

from reprostore.errors import ReprostoreError

SECONDS = 20
"""Longer than anything here takes on a busy machine, and short for a loop that does not end."""

ROOM = 3 * 2**30
"""Bytes of address space beyond those in use; what is small needs threads and libraries only."""


def examples(few):
    """Return settings: few examples in each run of the tests, fifty times as many when asked.

    ``HYPOTHESIS_PROFILE=thorough pytest tests/test_fuzz_*.py`` asks for them.
    """
    thorough = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
    return settings(
        max_examples=50 * few if thorough else few, suppress_health_check=list(HealthCheck)
    )


class Hang(BaseException):
    """A call took too long; no `except Exception` catches it."""


@contextmanager
def watched(seconds=SECONDS, room=ROOM):
    """Stop the block with `Hang` when it takes too long, and refuse it a lot of memory."""

    def ring(*_):
        raise Hang(f"longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        used = pages * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (used + room, hard))
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def told(error):
    """Say whether an error is one paragraph of three sentences."""
    return (
        isinstance(error, ReprostoreError)
        and len(error.parts) == 3
        and all(part and part.rstrip('"`')[-1:] in ".?" for part in error.parts)
    )


def outcome(call, *arguments, **options):
    """Return what a call gives, or the ReprostoreError that it raises; anything else fails."""
    try:
        return call(*arguments, **options)
    except ReprostoreError as error:
        found = error
    assert told(found), found.parts
    return found
