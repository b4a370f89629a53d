"""Two sides of a benchmark, timed in turn in one run: machines are shared and noisy."""

from statistics import median
from time import perf_counter, sleep

PAUSE = 0.2
"""Seconds before each call: threads of the other side's library spin for a while after their work,
and would be timed as part of this one."""


def seconds(function):
    """Time one call, after a pause."""
    sleep(PAUSE)
    start = perf_counter()
    function()
    return perf_counter() - start


def compare(benchmark, ours, other, repeats=7, times=1):
    """Time both sides in turn; `other` stands for `times` times its work.

    The medians and the median of the ratios ours / other go to `extra_info`.
    """
    ours()
    other()
    pairs = [(seconds(ours), times * seconds(other)) for _ in range(repeats)]
    benchmark.extra_info |= {
        "ours_s": median(a for a, _ in pairs),
        "other_s": median(b for _, b in pairs),
        "ratio": median(a / b for a, b in pairs),
    }
    benchmark.pedantic(ours, rounds=1)
