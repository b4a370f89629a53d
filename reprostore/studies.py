"""What the command line does with a study: plan it, generate it, and say how far it is."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from reprostore.errors import SpecError
from reprostore.layout import RunLayout
from reprostore.pending import RunRequest, missing_seeds
from reprostore.seeds import parse_ranges
from reprostore.specs import ConditionSpec
from reprostore.store import SampleStore, create_store, open_store
from reprostore.store.run import WRITTEN
from reprostore.study import LoadedStudy

Progress = Callable[[str, int, int], None]


def requests_of(loaded: LoadedStudy) -> list[RunRequest]:
    """Return the runs that a study asks for.

    Raises
    ------
    SpecError
        The study has no models or no samplers.
    """
    study = loaded.study
    requests = [
        RunRequest(
            model=model,
            sampler=sampler,
            condition=condition,
            model_spec=study.models[model],
            sampler_spec=study.samplers[sampler],
            condition_spec=study.conditions.get(condition, ConditionSpec()),
        )
        for model, sampler, condition in study.runs()
    ]
    if not requests:
        raise SpecError(
            "The study has no runs.",
            "Samples are generated for models × samplers.",
            "Add a [models.NAME] and a [samplers.NAME] table.",
        )
    return requests


def seeds_of(loaded: LoadedStudy) -> list[int]:
    """Return the seeds of a study.

    Raises
    ------
    SpecError
        It names none.
    """
    if loaded.study.seeds is None:
        raise SpecError(
            "The study names no seeds.",
            "Samples are generated for seeds.",
            'Write, for example, seeds = "0-999".',
        )
    return parse_ranges(loaded.study.seeds)


def study_store(loaded: LoadedStudy) -> SampleStore:
    """Open a study's store for writing, creating it where it does not exist."""
    study = loaded.study
    return create_store(
        loaded.store_path, title=study.title, license=study.license, creators=study.creators
    )


def plan_study(loaded: LoadedStudy) -> list[dict[str, Any]]:
    """Say what generating a study would write, without writing anything.

    Returns
    -------
    list of dict
        Per run: `run`, `seeds`, `missing`, `units`, `files` and `bytes` (uncompressed) of the
        complete run. Models are loaded, since they determine the shape of a sample.

    Raises
    ------
    ReprostoreError
        A model or sampler cannot be used, or a run in the store is something else.
    """
    from reprostore.generate import Settings, prepare
    from reprostore.models import load_model

    requests, seeds, study = requests_of(loaded), seeds_of(loaded), loaded.study
    store = open_store(loaded.store_path) if loaded.store_path.exists() else None
    rows = []
    Settings().resolved_device()
    for request in requests:
        model = load_model(request.model_spec, loaded.base, "cpu", study.dtype)
        spec, _ = prepare(
            request, model, loaded.base, batch_size=study.batch_size, dtype=study.dtype
        )
        layout = RunLayout.of(spec)
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
    missing = {request.path: len(seeds) for request in requests}
    if loaded.store_path.exists():
        store = open_store(loaded.store_path)
        missing = {
            request.path: missing_seeds(store, request, seeds, loaded.base, study.dtype)
            for request in requests
        }
    written: dict[str, int] = {}
    pending = [request for request in requests if missing[request.path]]
    if pending:
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
        )
    return [
        {"run": request.path, "seeds": len(seeds), "written": written.get(request.path, 0)}
        for request in requests
    ]


def store_status(path: Path) -> list[dict[str, Any]]:
    """Say what a store holds, run by run.

    Returns
    -------
    list of dict
        `run`, `written` and `seeds`, `steps` (recorded), `shape`, `dtype`, `bytes` of a complete
        run (uncompressed), and `fingerprint`.
    """
    rows = []
    for run in open_store(path).runs():
        status, spec = run.status, run.spec
        rows.append(
            {
                "run": run.path,
                "written": int((status == WRITTEN).sum()),
                "seeds": len(status),
                "steps": len(spec.steps),
                "shape": list(spec.sample_shape),
                "dtype": spec.stored_dtype,
                "bytes": RunLayout.of(spec).nbytes(len(status)),
                "fingerprint": spec.fingerprint,
            }
        )
    return rows
