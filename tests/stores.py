"""Helpers of the tests of the store."""

import os
import subprocess
import sys
from pathlib import Path

from reprostore.testing.store import step_table


def add(store, spec, seeds):
    return store.add_run(spec, step_table(spec), seeds)


def content(folder):
    """Return the bytes and times of all files, to see which were touched."""
    return {
        file.relative_to(folder).as_posix(): (file.read_bytes(), file.stat().st_mtime_ns)
        for file in folder.rglob("*")
        if file.is_file()
    }


def python(code, *arguments):
    """Start a process that runs code with arguments; its input stays open until it is ended."""
    root = Path(__file__).parents[1]
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )


def finish(process):
    out, error = process.communicate(timeout=120)
    assert process.returncode == 0, error
    return out


ADD_RUNS = """
import sys
from reprostore.store import create_store
from reprostore.testing.store import run_spec, step_table
store = create_store(sys.argv[1])
for sampler in sys.argv[3].split(","):
    spec = run_spec("shared", sampler)
    store.add_run(spec, step_table(spec), range(int(sys.argv[2])))
"""
