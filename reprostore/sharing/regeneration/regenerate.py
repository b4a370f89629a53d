"""Generate some stored samples anew, and measure how far they come out from those stored."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import get_args

import torch
import xarray as xr

from reprostore.closed_items import is_closed_form, is_stored
from reprostore.embed import EncoderHandle
from reprostore.errors import MissingDataError, NotFoundError, SpecError
from reprostore.pending import RunRequest, check_as_written
from reprostore.settings import Settings
from reprostore.sharing.regeneration.floor import keep_floor
from reprostore.sharing.regeneration.portion import Regeneration
from reprostore.sharing.regeneration.recomputation import Progress, Recomputation
from reprostore.sharing.regeneration.recorded_models import RecordedModels
from reprostore.specs import NOISE_CONTRACT, ComputeDtype, EncoderSpec
from reprostore.store import SampleStore
from reprostore.study import LoadedStudy
from reprostore.study_requests import requests_of


@dataclass
class Regenerated:
    """What came out.

    Attributes
    ----------
    floors : list of Dataset
        One per run, see `regenerate`.
    left_out : dict of str
        By run path, why its samples were not generated anew.
    kept : bool
        Whether the floors were written into the store.
    """

    floors: list[xr.Dataset] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    kept: bool = True


def regenerate(
    store: SampleStore,
    loaded: LoadedStudy,
    asked: Regeneration,
    progress: Progress | None = None,
) -> Regenerated:
    """Generate chosen samples of a study's runs anew, and compare them with those in a store.

    Models are those that the study names: nothing that a store says of its models is opened or
    imported. A model is used only if its files, sampler and scheduler values are those recorded.

    Parameters
    ----------
    store : SampleStore
        The store; where it is read-only, nothing is kept.
    loaded : LoadedStudy
        Says what and where the models and encoders are.
    asked : Regeneration
        Which samples, and how they are computed.
    progress : callable, optional
        Called after every batch.

    Returns
    -------
    Regenerated
        For each run a Dataset over `seed`, `step` and `encoder`: `digest` of the stored sample,
        `identical`, `state_difference` (with `denoised_difference` where that is recorded),
        `median_difference`, `grey_difference`, `median_grey_difference`, `similarity` and
        `distance` of `reprostore.sharing.regeneration.comparison.Comparison`, and
        `stored_execution`, a position in attrs.stored_executions. attrs.execution is that of this
        process.

    Raises
    ------
    IdentityError
        A model or a sampler is another than the one that made the run.
    PairingError
        The noise of a stored sample is not that of its seed.
    MissingDataError
        No run has a model that is at hand.
    SpecError
        An encoder, a dtype or a device is not known.
    ReprostoreError
        A model cannot be computed, or the store is damaged.
    """
    asked, device, handles = checked_regeneration(loaded, asked)
    done = Regenerated(kept=not store.read_only)
    runs = dict(_at_hand(store, loaded, done.left_out))
    torch.backends.cuda.matmul.allow_tf32 = asked.tf32
    torch.backends.cudnn.allow_tf32 = asked.tf32
    models = RecordedModels(
        store, loaded.base, device, batch_size=asked.batch_size, dtype=asked.dtype
    )
    work = Recomputation(store, asked, device, handles)
    for path, request in runs.items():
        run = store.run(path)
        prepared = models.prepared(run, request)
        if prepared.other_noise:
            done.left_out[path] = (
                f"Its sampler draws noise at every step, and draws other noise in {prepared.dtype}."
            )
            continue
        floor = work.floor(run, prepared, progress or (lambda name, finished, total: None))
        keep_floor(store, floor)
        done.floors.append(floor)
    if not done.floors:
        reasons = " ".join(f"{path}: {why}" for path, why in done.left_out.items())
        raise MissingDataError(
            f"No run of the store {store.path} can be generated anew. {reasons}".strip(),
            "Samples are generated anew with the models of a study that has made some of them.",
            "Name the study whose models are on this machine.",
        )
    return done


def checked_regeneration(
    loaded: LoadedStudy, asked: Regeneration
) -> tuple[Regeneration, str, list[EncoderHandle]]:
    """Check what can be checked before anything is read or computed.

    Parameters
    ----------
    loaded : LoadedStudy
        The study.
    asked : Regeneration
        What is asked for.

    Returns
    -------
    asked : Regeneration
        With distinct encoders, the usual one where none is named.
    device : str
        "cpu" or a CUDA device.
    handles : list of EncoderHandle
        Of the encoders.

    Raises
    ------
    SpecError
        An encoder, a dtype or a device is not known.
    """
    if asked.dtype is not None and asked.dtype not in get_args(ComputeDtype):
        raise SpecError(
            f"The dtype {asked.dtype!r} is not known.",
            f"Models compute in {', '.join(get_args(ComputeDtype))}.",
            "Choose one of these.",
        )
    device = Settings(device=asked.device).resolved_device()
    asked = replace(asked, encoders=tuple(dict.fromkeys(asked.encoders or _usual(loaded))))
    handles = [_encoder(loaded, name, device, asked.download) for name in asked.encoders]
    return asked, device, handles


def _usual(loaded: LoadedStudy) -> tuple[str]:
    """Return in whose space the study's RP is computed, since its ceiling is to be told."""
    return (str(loaded.study.analyses.get("reproducibility", {}).get("encoder", "pixel")),)


def _encoder(loaded: LoadedStudy, name: str, device: str, download: bool) -> EncoderHandle:
    known = {"pixel": EncoderSpec(kind="pixel"), **loaded.study.encoders}
    if name not in known:
        raise SpecError(
            f"The encoder {name!r} is not defined.",
            f"Defined are {', '.join(sorted(known))}.",
            "Define it in the study under [encoders], or choose one of these.",
        )
    handle = EncoderHandle(name, known[name], loaded.base, device, download=download)
    _ = handle.identity  # what it lacks is told before models are loaded
    return handle


def _at_hand(
    store: SampleStore, loaded: LoadedStudy, left_out: dict[str, str]
) -> Iterator[tuple[str, RunRequest]]:
    """Yield the runs whose models are here and are those recorded; note why others are not."""
    requests = {request.path: request for request in requests_of(loaded)}
    present = store.run_paths()
    for path in [*requests, *(path for path in present if path not in requests)]:
        if path not in requests:
            left_out[path] = "The study does not have it."
            continue
        if path not in present or len(store.run(path).written()[0]) == 0:
            left_out[path] = "The store has no samples of it."
            continue
        run, request = store.run(path), requests[path]
        if run.spec.noise != NOISE_CONTRACT:
            left_out[path] = f"Its noise is {run.spec.noise!r}, not made from the seeds."
            continue
        if is_closed_form(request.model_spec) and not is_stored(store, request.model_spec):
            left_out[path] = "The dataset that it is computed from is not in the store."
            continue
        try:
            check_as_written(store, run, request, loaded.base, run.spec.compute_dtype)
        except NotFoundError as error:
            left_out[path] = str(error)
            continue
        yield path, request
