"""What generating a study would write."""

from typing import TYPE_CHECKING, Any

from reprostore.closed_items import is_closed_form, known_items
from reprostore.layout import RunLayout
from reprostore.pending import missing_seeds
from reprostore.store import open_store
from reprostore.studies import require_torch
from reprostore.study import LoadedStudy
from reprostore.study_requests import requests_of, seeds_of
from reprostore.trained import check_trained
from reprostore.trainings import untrained_recipe

if TYPE_CHECKING:
    from reprostore.specs import RunSpec


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
        run, missing = specs[request.path], len(seeds)
        if store is not None:
            missing = missing_seeds(store, request, seeds, loaded.base, study.dtype)
            if request.path in store.run_paths():  # its units stay as they were begun
                run = store.run(request.path).spec
        layout = RunLayout.of(run)
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
