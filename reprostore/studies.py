"""What commands do with a study: open its store, check its runs, and generate it."""

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from reprostore.closed_items import is_closed_form
from reprostore.errors import DependencyError, IdentityError, NotFoundError, StorageError
from reprostore.parts import WHOLE, Part, Share
from reprostore.pending import RunRequest, check_as_written, missing_seeds
from reprostore.specs import IMPORTED
from reprostore.store import SampleStore, create_store, open_store
from reprostore.store.identity import first_difference
from reprostore.study import LoadedStudy, derived_study
from reprostore.study_requests import imported_runs, requests_of, seeds_of, shares_of
from reprostore.trained import check_recorded, check_trained
from reprostore.trainings import require_trained

Progress = Callable[[str, int, int], None]


def overridden(
    loaded: LoadedStudy,
    *,
    seeds: str | None = None,
    batch_size: int | None = None,
    dtype: str | None = None,
) -> LoadedStudy:
    """Return a study with some values replaced by options; None keeps the study's.

    Raises
    ------
    SpecError
        An option is not valid.
    """
    study = loaded.study
    options = derived_study(
        store=study.store,
        models=(),
        samplers=(),
        seeds=study.seeds if seeds is None else seeds,
        batch_size=study.batch_size if batch_size is None else batch_size,
        dtype=study.dtype if dtype is None else dtype,
    ).study
    replaced = {key: getattr(options, key) for key in ("seeds", "batch_size", "dtype")}
    return dataclasses.replace(loaded, study=study.model_copy(update=replaced))


def study_store(loaded: LoadedStudy) -> SampleStore:
    """Open a study's store for writing, creating it where it does not exist."""
    study = loaded.study
    return create_store(
        loaded.store_path, title=study.title, license=study.license, creators=study.creators
    )


def store_for_analysis(path: Path) -> tuple[SampleStore, StorageError | None]:
    """Open a store for writing if that is possible, else for reading.

    Returns
    -------
    store : SampleStore
        The store.
    refusal : StorageError or None
        Why it cannot be written. It matters only when something has to be.
    """
    try:
        return open_store(path, mode="r+"), None
    except StorageError as error:
        return open_store(path), error


def check_stored_runs(
    store: SampleStore, loaded: LoadedStudy, *, read_sources: bool = False
) -> None:
    """Compare the runs in a store with what a study says of them, before they are analyzed.

    Models that are not on this machine are left out: a store may come from elsewhere.

    Parameters
    ----------
    store : SampleStore
        The store.
    loaded : LoadedStudy
        The study.
    read_sources : bool
        As in `reprostore.trained.check_trained`.

    Raises
    ------
    IdentityError
        A run was made from something else than the study names, or a trained model is another.
    """
    study, known = loaded.study, set(store.run_paths())
    imported = imported_runs(study)
    for path in known.intersection(imported):
        _check_imported(store, loaded, path)
    requests = requests_of(loaded) if len(study.runs()) > len(imported) else []
    models = dict.fromkeys(request.model for request in requests)
    check_trained(loaded, store, models, read_sources=read_sources)
    for request in requests:
        if request.path not in known:
            continue
        with contextlib.suppress(NotFoundError):
            recorded = store.run(request.path).spec.model_spec
            check_recorded(loaded, store, request.model, recorded)
        source = request.model_spec.source
        here = (
            source.startswith("python:")
            or is_closed_form(request.model_spec)
            or (loaded.base / Path(source).expanduser()).is_dir()
        )
        if here:
            with contextlib.suppress(NotFoundError):
                run = store.run(request.path)
                check_as_written(store, run, request, loaded.base, study.dtype)


def _check_imported(store: SampleStore, loaded: LoadedStudy, path: str) -> None:
    """Require that a run which a study calls imported is that, with as many solver steps."""
    spec, sampler = store.run(path).spec, path.split("/")[1]
    stored = {"source": spec.model_spec.source, "steps": spec.sampler_spec.steps}
    asked = {"source": IMPORTED, "steps": loaded.study.samplers[sampler].steps}
    if stored != asked:
        raise IdentityError(
            f"The run {path} in the store differs from the one asked for: "
            f"{first_difference(stored, asked)}.",
            "A run name stands for one model, sampler and condition.",
            "Correct the study, or import the samples under another name.",
        )


def absent_imports(loaded: LoadedStudy) -> list[str]:
    """Return the runs of a study that come from `repro import` and are not in its store yet."""
    present = open_store(loaded.store_path).run_paths() if loaded.store_path.exists() else []
    return [path for path in imported_runs(loaded.study) if path not in present]


def generate_study(
    loaded: LoadedStudy,
    *,
    device: str = "auto",
    tf32: bool = False,
    accept_drift: bool = False,
    part: Part | None = None,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Generate what a study asks for and its store does not have.

    Parameters
    ----------
    loaded : LoadedStudy
        The study.
    device, tf32, accept_drift
        As in `reprostore.settings.Settings`.
    part : Part, optional
        Generate only this part of all work units, and wait for no other part. Parts may run at
        the same time, in any order and again; together they are the whole study.
    progress : callable, optional
        Called after every batch with the run, its finished samples and all of them.

    Returns
    -------
    list of dict
        Per run: `run`, `seeds`, and `written`, the samples that this call wrote; of a part only
        the runs and seeds that are its own. Nothing heavy is imported when nothing is missing.

    Raises
    ------
    ReprostoreError
        See `reprostore.generate.generate`.
    """
    requests, seeds, study = requests_of(loaded), seeds_of(loaded), loaded.study
    require_trained(loaded)
    shares = shares_of(requests, part) if part else {}
    own = [request for request in requests if not shares.get(request.path, WHOLE).is_empty]
    missing = {request.path: len(seeds) for request in own}
    store = open_store(loaded.store_path) if loaded.store_path.exists() else None
    check_trained(loaded, store, dict.fromkeys(request.model for request in requests))
    if store is not None:
        missing = {
            request.path: missing_seeds(
                store, request, seeds, loaded.base, study.dtype, shares.get(request.path, WHOLE)
            )
            for request in own
        }
    written: dict[str, int] = {}
    pending = [request for request in own if missing[request.path]]
    if pending:
        require_torch()
        from reprostore.generate import generate
        from reprostore.settings import Settings

        written = generate(
            lambda: study_store(loaded),
            pending,
            seeds,
            loaded.base,
            batch_size=study.batch_size,
            dtype=study.dtype,
            settings=Settings(device=device, tf32=tf32, accept_drift=accept_drift),
            progress=progress,
            existing=store,
            shares=shares,
        )
    counts = _own_seeds(loaded, own, seeds, shares) if part else dict.fromkeys(missing, len(seeds))
    return [
        {"run": path, "seeds": count, "written": written.get(path, 0)}
        for path, count in counts.items()
    ]


def _own_seeds(
    loaded: LoadedStudy,
    requests: Sequence[RunRequest],
    seeds: Sequence[int],
    shares: Mapping[str, Share],
) -> dict[str, int]:
    """Count the seeds that a part has of each run; runs too short for it are left out."""
    store = open_store(loaded.store_path)
    counts = {}
    for request in requests:
        run = store.run(request.path)
        slots = shares[request.path].slots(run.seeds, seeds, run.unit_length)
        counts[request.path] = int(slots.sum())
    return {path: count for path, count in counts.items() if count}


def require_torch() -> None:
    """Say which extra is needed, instead of failing at an import."""
    missing = [name for name in ("torch", "diffusers") if find_spec(name) is None]
    if missing:
        raise DependencyError(
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed.",
            "Models are loaded and sampled with torch and diffusers.",
            "Run: pip install 'reprostore[generate]'",
        )
