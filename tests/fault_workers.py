"""Processes that generate and die, and what must still be in a store after that."""

import ctypes
import hashlib
import os
import struct
import time

import numpy as np
from generating import child, files
from store_model import open_tree

from reprostore.parts import Part
from reprostore.store import open_store
from reprostore.store.checked import CheckedArray
from reprostore.studies import generate_study

SECONDS = 180


def received(connection):
    assert connection.poll(SECONDS), "the process says nothing"
    return connection.recv()


def generate_from(connection, loaded, barrier, part=None):
    """Generate as soon as all others are ready too, and send the rows."""
    barrier.wait(SECONDS)
    chosen = None if part is None else Part.parse(part)
    connection.send(generate_study(loaded, part=chosen))


def all_at_once(context, studies, parts=None):
    """Generate studies in a process each, all begun at once; return the rows of each."""
    barrier = context.Barrier(len(studies))
    parts = parts or [None] * len(studies)
    children = [
        child(generate_from, loaded, barrier, part)
        for loaded, part in zip(studies, parts, strict=True)
    ]
    rows = [received(connection) for _, connection in children]
    for process, _ in children:
        process.join(SECONDS)
        assert process.exitcode == 0
    return rows


def states_of(run):
    """Return what the status calls written: {seed: (digest, bytes of sample, of denoised)}."""
    slots, seeds = run.written()
    digests = run.recorded("digest")
    names = ["sample", "denoised"] if run.spec.sampler_spec.denoised else ["sample"]
    values = [CheckedArray(run, name)[:, :] for name in names]
    found = {}
    for slot, seed in zip(slots.tolist(), seeds.tolist(), strict=True):
        states = [array[slot] for array in values]
        assert digest_of(states) == digests[slot], (run.path, seed)
        found[seed] = (int(digests[slot]), *(state.tobytes() for state in states))
    return found


def digest_of(states):
    """Return blake2b-64 over the steps: the sample's bytes, then those of its denoised state."""
    hasher = hashlib.blake2b(digest_size=8)
    for row in zip(*states, strict=True):
        for state in row:
            hasher.update(np.ascontiguousarray(state).tobytes())
    return int.from_bytes(hasher.digest(), "little")


def written_states(path):
    """Return all that a store calls written: {(run, seed): (digest, bytes, …)}."""
    return {
        (run.path, seed): states
        for run in (open_store(path).runs() if path.exists() else [])
        for seed, states in states_of(run).items()
    }


def assert_kept(before, after, *, but=()):
    """Nothing that was written is missing or has other bits, but for what was damaged."""
    for key, states in before.items():
        if key not in but:
            assert after.get(key) == states, key


def damage(path):
    """Return the damage that `repro verify` finds, as (run, kind, seeds, steps)."""
    from reprostore.sharing.verify import verify_store

    return [
        (finding.group.removeprefix("runs/"), finding.kind, finding.seeds, finding.steps)
        for finding in verify_store(open_store(path)).damage
    ]


def shape_of(path):
    """Return which files there are, in a form that equal moments of a death have in common."""
    return frozenset(
        name.split(".")[0] + ".partial" if ".partial" in name else name
        for name in files(path)
        if not name.startswith("sessions/")
    )


def opens_in_xarray(path):
    """Open a store as somebody without this package; a half-grown run is mended before it."""
    if any(run.is_half_grown() for run in open_store(path).runs()):
        open_store(path, mode="r+")
    open_tree(path)


def give_up_rights():
    """Give up what root may do beyond the permissions of files; in a child only.

    Another user could not import what stands in root's home.
    """
    if os.geteuid() == 0:
        header = struct.pack("II", 0x20080522, 0)  # version 3 of the interface, this thread
        if ctypes.CDLL(None, use_errno=True).capset(header, bytes(24)):
            raise OSError(ctypes.get_errno(), "capset")


def wait_until(moment):
    time.sleep(max(0.0, moment - time.monotonic()))
