"""Checking a store: structure, checksums, digests, and caches against their inputs.

Everything is read as plain JSON and arrays of numbers, from a folder or an archive, and nothing is
written. Checksums and digests find what was damaged, and what was changed without changing all that
belongs together; they do not prove who wrote a store.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from reprostore.sharing.archives.manifest import RECEIVE_AGAIN, check_manifest
from reprostore.sharing.checks.cache_inputs import Inputs
from reprostore.sharing.checks.caches import cache_groups, check_cache
from reprostore.sharing.checks.datasets import check_dataset
from reprostore.sharing.checks.findings import Damage, Finding, Progress, Report
from reprostore.sharing.checks.forms import group_attributes
from reprostore.sharing.checks.run_damage import check_run
from reprostore.sharing.checks.structure import parents, sessions, strays, unknown_entries
from reprostore.store import SampleStore
from reprostore.store.files import StoreFiles, checked_files, run_folders


def verify_store(store: SampleStore, *, progress: Progress | None = None) -> Report:
    """Check all of a store.

    The files of a packed store are compared with its manifest too.
    Seeds that are missing are no damage, and neither is a cache that is older than what it was
    made from: it is made again when it is asked for. Memory holds a few chunks at a time.

    Parameters
    ----------
    store : SampleStore
        A folder or a packed store; it is only read.
    progress : callable, optional
        Called with the store's name, the bytes that were checked and all of them.

    Returns
    -------
    Report
        What was checked, what is damaged, and what else is worth knowing.
    """
    return _Verification(store, progress).report()


class _Verification:
    def __init__(self, store: SampleStore, progress: Progress | None) -> None:
        self._name, self._progress = store.path.name, progress
        self.files = checked_files(store.path)
        self._archive = store.path if store.path.is_file() else None
        self.keys = list(self.files.walk())
        self._sizes = {key: _size(self.files, key) for key in self.keys}
        self._done = 0
        self._inputs = Inputs()
        self._report = Report(files=len(self.keys), nbytes=sum(self._sizes.values()))

    def report(self) -> Report:
        """Check everything; what others are made from first."""
        self._report.add(_root(self.files))
        self._report.add(parents(self.files, self.keys))
        self._report.add(unknown_entries(self.files, self.keys))
        self._report.add(strays(self.files, self.keys))
        for path in run_folders(self.files, "runs"):
            self._run(path)
        told = {f.place for f in self._report.findings if f.kind == "session"}
        self._report.add(sessions(self.files, told))
        for name in self.files.folders("datasets"):
            self._dataset(name)
        groups = list(cache_groups(self.files))
        self._inputs.encoders = _encoders(self.files, groups)
        for group in groups:
            self._cache(group)
        if self._archive is not None:
            self._report.add(check_manifest(self._archive, progress=self._progress))
            self._report.findings = [
                replace(f, action=RECEIVE_AGAIN, mending=None) if f.damage else f
                for f in self._report.findings
            ]
        self._show(self._report.nbytes)
        return self._report

    def _run(self, path: str) -> None:
        with self._bar(f"runs/{path}") as share:
            checked = check_run(self.files, path, self._below(f"runs/{path}"), step=share)
        self._inputs.runs[path] = checked.facts()
        self._report.runs += 1
        self._report.seeds += checked.compared
        self._report.chunks += checked.chunks
        self._report.add(checked.findings)

    def _dataset(self, name: str) -> None:
        with self._bar(f"datasets/{name}") as share:
            checked = check_dataset(self.files, name, share)
        known = checked.fingerprint
        sound = known is not None and checked.length
        self._inputs.datasets[name] = (str(known), checked.length) if sound else None
        if checked.withheld:
            self._inputs.withheld.add(name)
        self._report.datasets += 1
        self._report.chunks += checked.chunks
        self._report.add(checked.findings)

    def _cache(self, group: str) -> None:
        with self._bar(group):
            checked = check_cache(self.files, group, self._below(group), self._inputs)
            if any(finding.damage for finding in checked.findings):  # or made anew right now
                keys = list(self.files.walk(group))
                checked = check_cache(self.files, group, keys, self._inputs)
        self._report.caches += 1
        self._report.chunks += checked.chunks
        self._report.add(checked.findings)

    def _below(self, group: str) -> list[str]:
        start = bisect_left(self.keys, f"{group}/")
        return self.keys[start : bisect_left(self.keys, f"{group}0")]  # "0" comes after "/"

    @contextmanager
    def _bar(self, group: str) -> Iterator[Callable[[float], None]]:
        """Let the block say which share of a group's bytes it has checked."""
        start, total = self._done, sum(self._sizes[key] for key in self._below(group))
        yield lambda share: self._show(start + int(share * total))
        self._done = start + total
        self._show(self._done)

    def _show(self, done: int) -> None:
        if self._progress is not None:
            self._progress(self._name, done, self._report.nbytes)


def _size(files: StoreFiles, key: str) -> int:
    try:
        return files.size(key) or 0
    except OSError:  # told where the file is read
        return 0


def _root(files: StoreFiles) -> Iterator[Finding]:
    try:
        unknown = sorted(group_attributes(files, "").keys() - {"reprostore"})
        what = f"The store has the unknown attributes {', '.join(unknown)}." if unknown else None
    except Damage as damage:
        what = f"The store {damage}."
    if what is not None:
        yield Finding(True, "store", "", what, "Restore its zarr.json from a copy of the store.")


def _encoders(files: StoreFiles, groups: Sequence[str]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for group in groups:
        family, name, *_ = group.split("/")
        if family == "embeddings":
            try:
                made_from = group_attributes(files, group).get("made_from")
            except Damage:  # told where the group is checked
                continue
            if isinstance(made_from, dict) and isinstance(made_from.get("encoder"), str):
                found.setdefault(name, set()).add(made_from["encoder"])
    return found
