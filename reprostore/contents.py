"""What a store holds: runs and how far they are, datasets, encoders and results."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from reprostore.ingest import StoredDataset
from reprostore.layout import RunLayout
from reprostore.seeds import parse_ranges
from reprostore.store import Run, SampleStore
from reprostore.store.files import store_files
from reprostore.store.labelled import read_attributes
from reprostore.study import LoadedStudy


def store_contents(store: SampleStore, loaded: LoadedStudy | None = None) -> list[dict[str, Any]]:
    """Say what a store holds, without reading samples.

    Parameters
    ----------
    store : SampleStore
        The store.
    loaded : LoadedStudy, optional
        A study. Its runs are counted against the seeds that it asks for, and those that were not
        begun are listed too.

    Returns
    -------
    list of dict
        One per entry, told apart by `kind`, all with a `name`. "run": `written` of `seeds`,
        recorded `steps`, `shape`, `dtype`, `bytes` of the complete run before compression,
        `fingerprint` (None what is not known before a run is begun) and whether its samples are
        `withheld`. "dataset": `items`, `shape`,
        `dtype`, `held_out`, `source` and `fingerprint`. "encoder": how many `runs` and `datasets`
        have vectors. "result": the analysis by `name`, `key`, `encoder`, `threshold` and how many
        `runs` it is about.

    Raises
    ------
    CorruptionError
        An entry is damaged.
    """
    return [*_runs(store, loaded), *_datasets(store), *_encoders(store), *_results(store)]


def _runs(store: SampleStore, loaded: LoadedStudy | None) -> Iterator[dict[str, Any]]:
    asked: dict[str, str] = {}
    seeds: list[int] | None = None
    if loaded is not None:
        asked = {"/".join(names): names[1] for names in loaded.study.runs()}
        if loaded.study.seeds is not None:
            seeds = parse_ranges(loaded.study.seeds)
    present = store.run_paths()
    for path in sorted({*present, *asked}):
        if path in present:
            yield _run(store.run(path), seeds if path in asked else None)
        elif loaded is not None:
            sampler = loaded.study.samplers[asked[path]]
            yield {
                "kind": "run",
                "name": path,
                "written": 0,
                "seeds": len(seeds or ()),
                "steps": len(sampler.recorded_steps()),
                "shape": None,
                "dtype": sampler.dtype,
                "bytes": None,
                "fingerprint": None,
                "withheld": False,
            }


def _run(run: Run, asked: list[int] | None) -> dict[str, Any]:
    spec, (_, written) = run.spec, run.written()
    wanted = run.seeds if asked is None else np.asarray(asked, dtype=np.int64)
    return {
        "kind": "run",
        "name": run.path,
        "written": int(np.isin(wanted, written).sum()),
        "seeds": len(wanted),
        "steps": len(spec.steps),
        "shape": list(spec.sample_shape),
        "dtype": spec.stored_dtype,
        "bytes": 0 if run.withheld else RunLayout.of(spec).nbytes(len(wanted)),
        "fingerprint": spec.fingerprint,
        "withheld": run.withheld,
    }


def _datasets(store: SampleStore) -> Iterator[dict[str, Any]]:
    for name in store_files(store.path).folders("datasets"):
        dataset = StoredDataset(store, name)
        yield {
            "kind": "dataset",
            "name": name,
            "items": len(dataset),
            "shape": list(dataset.item_shape),
            "dtype": str(dataset.dtype),
            "held_out": dataset.spec.held_out,
            "source": dataset.spec.source,
            "fingerprint": dataset.fingerprint,
        }


def _encoders(store: SampleStore) -> Iterator[dict[str, Any]]:
    files = store_files(store.path)
    for name in files.folders("embeddings"):
        vectors = [
            key.split("/")[2]
            for key in files.walk(f"embeddings/{name}")
            if key.endswith("/vector/zarr.json")
        ]
        yield {
            "kind": "encoder",
            "name": name,
            "runs": vectors.count("runs"),
            "datasets": vectors.count("datasets"),
        }


def _results(store: SampleStore) -> Iterator[dict[str, Any]]:
    files = store_files(store.path)
    for analysis in files.folders("results"):
        for key in files.folders(f"results/{analysis}"):
            attributes = read_attributes(store.path, f"results/{analysis}/{key}") or {}
            question = attributes.get("question", {})
            yield {
                "kind": "result",
                "name": analysis,
                "key": key,
                "encoder": attributes.get("encoder"),
                "threshold": attributes.get("threshold"),
                "runs": len(question.get("runs", ())),
            }
