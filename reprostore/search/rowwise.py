"""Row-wise NumPy work on all cores: each row's result is its own, however the rows are cut."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

_SMALL = 2**20
"""Values below which threads cost more than they save."""


def by_rows(function: Callable[[slice], None], rows: int, dimension: int) -> None:
    """Call a function on consecutive parts of the rows, in as many threads as there are cores.

    Parameters
    ----------
    function : callable
        Takes a slice of rows and writes their results in place; NumPy runs such work in parallel.
    rows, dimension : int
        Number of rows and values in each.
    """
    threads = os.cpu_count() or 1
    if threads == 1 or rows * dimension < _SMALL:
        function(slice(0, rows))
        return
    step = -(-rows // threads)
    parts = [slice(start, min(start + step, rows)) for start in range(0, rows, step)]
    with ThreadPoolExecutor(len(parts)) as pool:
        list(pool.map(function, parts))
