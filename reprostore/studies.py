"""What the command line does with a study: plan it, generate it, and say how far it is."""

import contextlib
import dataclasses
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reprostore.closed_items import is_closed_form, known_items
from reprostore.errors import DependencyError, NotFoundError, StorageError
from reprostore.layout import RunLayout
from reprostore.pending import check_as_written, missing_seeds
from reprostore.store import SampleStore, create_store, open_store
from reprostore.study import LoadedStudy, derived_study
from reprostore.study_requests import requests_of, seeds_of
from reprostore.trained import check_recorded, check_trained
from reprostore.trainings import require_trained, untrained_recipe

if TYPE_CHECKING:
    from reprostore.specs import RunSpec

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
    requests = requests_of(loaded) if study.runs() else []
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


def plan_study(loaded: LoadedStudy) -> list[dict[str, Any]]:
    """Say what generating a study would write, without writing anything.

    Returns
    -------
    list of dict
        Per run: `run`, `seeds`, `missing`, `units`, `files` and `bytes` (uncompressed) of the
        complete run. Models are loaded, since they determine the shape of a sample; those that
        are still to be trained have the shape of their items.

    Raises
    ------
    ReprostoreError
        A model or sampler cannot be used, or a run in the store is something else.
    """
    require_torch()
    from reprostore.models import load_model, weight_digests
    from reprostore.resolve import prepare
    from reprostore.untrained import untrained_model

    requests, seeds, study = requests_of(loaded), seeds_of(loaded), loaded.study
    store = open_store(loaded.store_path) if loaded.store_path.exists() else None
    check_trained(loaded, store, dict.fromkeys(request.model for request in requests))
    specs: dict[str, RunSpec] = {}
    for name in dict.fromkeys(request.model for request in requests):
        own = [request for request in requests if request.model == name]
        spec, dataset, items = own[0].model_spec, own[0].dataset_spec, None
        recipe = untrained_recipe(loaded, name)
        if is_closed_form(spec) or recipe is not None:
            items = known_items(store, spec, dataset, loaded.base)
        if recipe is not None and items is not None:
            model, weights = untrained_model(recipe, items.shape, study.dtype), {}
        else:
            model = load_model(spec, loaded.base, "cpu", study.dtype, items)
            weights = weight_digests(spec, loaded.base, items)
        for request in own:
            specs[request.path], _ = prepare(
                request, model, weights, batch_size=study.batch_size, dtype=study.dtype
            )
    rows = []
    for request in requests:
        layout = RunLayout.of(specs[request.path])
        missing = len(seeds)
        if store is not None:
            missing = missing_seeds(store, request, seeds, loaded.base, study.dtype)
        rows.append(
            {
                "run": request.path,
                "seeds": len(seeds),
                "missing": missing,
                "units": layout.units(len(seeds)),
                "files": layout.files(len(seeds)),
                "bytes": layout.nbytes(len(seeds)),
            }
        )
    return rows


def generate_study(
    loaded: LoadedStudy,
    *,
    device: str = "auto",
    tf32: bool = False,
    accept_drift: bool = False,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Generate what a study asks for and its store does not have.

    Parameters
    ----------
    loaded : LoadedStudy
        The study.
    device, tf32, accept_drift
        As in `reprostore.generate.Settings`.
    progress : callable, optional
        Called after every batch with the run, its finished samples and all of them.

    Returns
    -------
    list of dict
        Per run: `run`, `seeds`, and `written`, the samples that this call wrote. Nothing heavy
        is imported when nothing is missing.

    Raises
    ------
    ReprostoreError
        See `reprostore.generate.generate`.
    """
    requests, seeds, study = requests_of(loaded), seeds_of(loaded), loaded.study
    require_trained(loaded)
    missing = {request.path: len(seeds) for request in requests}
    store = open_store(loaded.store_path) if loaded.store_path.exists() else None
    check_trained(loaded, store, dict.fromkeys(request.model for request in requests))
    if store is not None:
        missing = {
            request.path: missing_seeds(store, request, seeds, loaded.base, study.dtype)
            for request in requests
        }
    written: dict[str, int] = {}
    pending = [request for request in requests if missing[request.path]]
    if pending:
        require_torch()
        from reprostore.generate import Settings, generate

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
        )
    return [
        {"run": request.path, "seeds": len(seeds), "written": written.get(request.path, 0)}
        for request in requests
    ]


def require_torch() -> None:
    """Say which extra is needed, instead of failing at an import."""
    missing = [name for name in ("torch", "diffusers") if find_spec(name) is None]
    if missing:
        raise DependencyError(
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed.",
            "Models are loaded and sampled with torch and diffusers.",
            "Run: pip install 'reprostore[generate]'",
        )
