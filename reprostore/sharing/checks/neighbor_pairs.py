"""Stored neighbors against the vectors of both sides: every value is that of its pair."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprostore.search.bounds import rounding_bound
from reprostore.search.kernel import Metric, pair_distances, squared_norms
from reprostore.seeds import shorten
from reprostore.sharing.checks.chunks import each_block
from reprostore.sharing.checks.findings import Damage, numbers_text
from reprostore.sharing.checks.forms import ArrayForm, array_form, group_attributes
from reprostore.sharing.checks.neighbors import whole_array
from reprostore.sharing.checks.run_facts import RunFacts
from reprostore.store.files import StoreFiles

GATHERED = 2**27
"""Bytes of vectors that are held at once, 128 MiB."""

_METRICS: dict[str, Metric] = {"similarity": "cosine", "distance": "squared_l2"}
_RANGES = 200
"""Characters of a message that name seeds."""


@dataclass(frozen=True)
class StoredVectors:
    """Vectors of a run's last state, or of a dataset, read block by block.

    Attributes
    ----------
    files : StoreFiles
        Of the store.
    group : str
        Path of the vectors.
    form : ArrayForm
        Of the array of vectors.
    run : RunFacts, optional
        The run that they are of.
    """

    files: StoreFiles
    group: str
    form: ArrayForm
    run: RunFacts | None = None

    @property
    def dimension(self) -> int:
        """Values of a vector."""
        return self.form.shape[-1]

    def gather(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the vectors of slots or items, (row, dimension).

        Raises
        ------
        Damage
            A block cannot be read, or a vector is not there.
        """
        found = np.full((len(rows), self.dimension), np.nan, dtype=np.float32)
        for here, values in self._blocks("vector", self.form, rows):
            found[here] = values.reshape(len(here), -1)
        if not np.isfinite(found).all():
            raise Damage("has vectors that are not there")
        return found

    def require_current(self, slots: NDArray[np.int64]) -> None:
        """Make sure that the vectors of slots were made from the samples that are stored.

        Raises
        ------
        Damage
            They were not.
        """
        assert self.run is not None
        form, _ = array_form(self.files, f"{self.group}/source_digest")
        if form.files[1:] != self.form.files[1:-1]:
            raise Damage("has vectors and digests that are not cut alike")
        for here, values in self._blocks("source_digest", form, slots):
            if (values.reshape(-1) != self.run.digests[slots[here]]).any():
                raise Damage("has vectors of other samples")

    def _blocks(
        self, name: str, form: ArrayForm, rows: NDArray[np.int64]
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[Any]]]:
        """Yield which of the rows lie in a block, and their values at the last step."""
        length = form.chunk[0]
        rest = [0] * (len(form.shape) - 1)
        if self.run is not None:
            rest[0] = form.files[1] - 1
        for number in np.unique(rows // length).tolist():
            block = (number, *rest)
            ((_, values),) = each_block(self.files, f"{self.group}/{name}", form, [block])
            if isinstance(values, Damage):
                raise values
            here = np.flatnonzero(rows // length == number)
            inside = rows[here] - number * length
            if (inside >= len(values)).any():
                raise Damage("has fewer vectors than there are rows")
            yield here, values[inside]


@dataclass(frozen=True)
class VectorGroups:
    """Finds vectors of one encoder that are of what is stored.

    Attributes
    ----------
    files : StoreFiles
        Of the store.
    encoder : str or any other JSON value
        Recorded fingerprint of the encoder.
    datasets : mapping
        Fingerprints and lengths by name.
    runs : mapping
        Facts by path.
    """

    files: StoreFiles
    encoder: object
    datasets: Mapping[str, tuple[str, int] | None]
    runs: Mapping[str, RunFacts | None]

    def of(self, name: str, kind: str, path: str) -> StoredVectors | None:
        """Return the vectors of a run or a dataset under the name of an encoder.

        None where there are none of it. What is damaged is told where vectors are checked.
        """
        group, run = f"embeddings/{name}/{kind}/{path}", None
        if kind == "runs":
            run = self.runs.get(path)
            origin = {"encoder": self.encoder, "run": run.fingerprint if run else None}
        else:
            facts = self.datasets.get(path)
            origin = {"encoder": self.encoder, "dataset": facts[0] if facts else None}
        try:
            recorded = group_attributes(self.files, group).get("made_from")
            form, _ = array_form(self.files, f"{group}/vector")
        except Damage:
            return None
        usable = form.dtype == "float32" and not form.sharded and recorded == origin
        lengths = (1,) if run is None else (form.files[1], 1)
        found = StoredVectors(self.files, group, form, run)
        return found if usable and form.files[1:] == lengths else None


def other_values(
    group: str, forms: Mapping[str, ArrayForm], vectors: VectorGroups
) -> Iterator[str]:
    """Say which values of neighbors are not those of the pairs that they stand for.

    Parameters
    ----------
    group : str
        Path of the neighbors, which are of all written seeds of a run, or of items.
    forms : mapping
        Of its arrays, which fit each other.
    vectors : VectorGroups
        Those of their encoder. Where these of one side are not at hand, nothing is said.

    Yields
    ------
    str
        What is wrong, as a full sentence.
    """
    name = "similarity" if "similarity" in forms else "distance"
    coordinate = "item" if "item" in forms else "seed"
    _, encoder, searched, kind, *path = group.split("/")
    corpus = vectors.of(encoder, "datasets", searched.partition("@")[0])
    text = "/".join(path)
    queries = vectors.of(encoder, kind, text if kind == "runs" else text.partition("@")[0])
    if queries is None or corpus is None or queries.dimension != corpus.dimension:
        return
    try:
        asked, index, values = (
            whole_array(vectors.files, f"{group}/{array}", forms[array])
            for array in (coordinate, "train_index", name)
        )
        rows = asked
        if queries.run is not None:
            rows = np.flatnonzero(queries.run.written)
            queries.require_current(rows)
        wrong = wrong_pairs(queries, corpus, rows, index, values, metric=_METRICS[name])
    except Damage:  # of vectors: told where these are checked
        return
    if wrong.any():
        which = shorten(numbers_text(asked[wrong]), _RANGES)
        yield f"The array {name} has others than the vectors of the {coordinate}s {which} give."


def wrong_pairs(
    queries: StoredVectors,
    corpus: StoredVectors,
    asked: NDArray[np.int64],
    index: NDArray[np.int64],
    values: NDArray[np.float64],
    *,
    metric: Metric,
) -> NDArray[np.bool_]:
    """Say which queries have a value that is not that of its pair of vectors.

    Only the stored pairs are computed, with the kernel of the search. Vectors that were made again
    elsewhere differ in their last bits, so that values may differ by as much as the rounding of
    float32 makes a product of two vectors uncertain: for cosine (d + 32) u of d dimensions and
    u = 2^-24, for squared L2 that times (2 ‖q‖ + √D)², D being the distance.

    Parameters
    ----------
    queries, corpus : StoredVectors
        Vectors of both sides.
    asked : ndarray of int64, (query,)
        Rows of the queries in their vectors.
    index, values : ndarray, (query, k)
        Rows of their neighbors, and the similarities or distances to these.
    metric : {"cosine", "squared_l2"}
        Of the values; those of cosine are similarities.

    Returns
    -------
    ndarray of bool, (query,)

    Raises
    ------
    Damage
        A vector cannot be read.
    """
    wrong = np.zeros(len(asked), dtype=np.bool_)
    k, dimension = index.shape[1], queries.dimension
    sign = -1.0 if metric == "cosine" else 1.0
    step = max(1, GATHERED // ((1 + k) * dimension * 4))
    for start in range(0, len(asked), step):
        part = slice(start, start + step)
        rows, place = np.unique(index[part], return_inverse=True)
        left, right = queries.gather(asked[part]), corpus.gather(rows)
        norms = squared_norms(left)
        query = np.repeat(np.arange(len(left)), k)
        exact = pair_distances(left, norms, query, right, place.reshape(-1), metric)
        bound = rounding_bound(metric, dimension, norms[query], np.maximum(exact, 0), np.float32)
        near = np.abs(sign * values[part].reshape(-1) - exact) <= bound  # NaN is not
        wrong[part] = ~near.reshape(-1, k).all(axis=1)
    return wrong
