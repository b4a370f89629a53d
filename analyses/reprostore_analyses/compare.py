"""Two sets of samples from elsewhere compared seed by seed, without a store of one's own."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from reprostore.embed.handle import EncoderHandle, Progress
from reprostore.encoders import require_device
from reprostore.errors import MissingDataError, PairingError, SpecError, StorageError
from reprostore.importing import prepared_import, write_import
from reprostore.importing.images import LEFT_OUT
from reprostore.importing.prepared import PreparedImport
from reprostore.importing.request import EDM_CPU, UNKNOWN
from reprostore.paths import with_home
from reprostore.seeds import seeds_text
from reprostore.store import SampleStore, create_store
from reprostore_analyses.compare_reading import import_requests, one_reading
from reprostore_analyses.compare_request import (
    CompareRequest,
    compared_encoder,
    require_sources,
)
from reprostore_analyses.context import Context
from reprostore_analyses.kernels import (
    check_cosine_threshold,
    check_mae_threshold,
    in_shared_classes,
)
from reprostore_analyses.reproducibility import reproducibility, reproducibility_rows
from reprostore_analyses.reproducibility_options import ReproducibilityOptions

_SCORES = (
    "rp", "rp_low", "rp_high", "chance", "corrected", "chance_threshold", "rp_beyond_chance",
    "mae_score", "mae_score_low", "mae_score_high", "mae_chance", "mae_corrected",
)  # fmt: skip


def compare(request: CompareRequest, *, progress: Progress | None = None) -> dict[str, Any]:
    """Compute RP, MAE score and their chance levels of two sets of samples at their common seeds.

    Both are imported into a temporary store, with all checks of an import. It is removed again.

    Parameters
    ----------
    request : CompareRequest
        The two sets.
    progress : callable, optional
        Called with what is read or encoded, the finished and all samples.

    Returns
    -------
    dict
        `a` and `b`, the paths; `kind`, "images" or "vectors"; `encoder`, `threshold` and
        `mae_threshold`; the scores with bounds and chance levels of `reproducibility_rows`, of
        vectors with NaN for those of the MAE score; `seeds`, how many pairs; `only_a` and
        `only_b`, how many seeds have no partner; `classes`, within how many the chance levels are,
        and `chance_seeds`, of how many seeds, those alone in their class left out, or None twice;
        `noise_a`, `noise_b` as in `RunSpec`; `noise`, "checked" where it was compared,
        "declared" where both sides were told to be of the same, else "unchecked"; `checked`,
        whether it was compared; `notes`, sentences on what was read.

    Raises
    ------
    PairingError
        The noise or the class labels differ, or the noise cannot be compared and
        `allow_unchecked` is false.
    MissingDataError
        There is no common seed.
    SpecError
        One holds images and the other vectors, or options do not fit.
    ReprostoreError
        See `reprostore.importing.prepared_import`.
    """
    check_cosine_threshold(request.threshold)
    check_mae_threshold(request.mae_threshold)
    require_sources(request)
    unknown = [str(s.path) for s in (request.a, request.b) if s.noise == UNKNOWN]
    if unknown and not request.allow_unchecked:
        raise _unpaired(f"The noise that the samples of {' and '.join(unknown)} began from is "
                        "not known.")  # fmt: skip
    with one_reading(request):
        imports = import_requests(request)
    encoder, specs = compared_encoder(request, vectors=imports[0].encoder is not None)
    require_device(request.device, specs.values())
    for name, spec in specs.items():  # weights that are not there are told before all is read
        handle = EncoderHandle(name, spec, Path.cwd(), request.device, download=request.download)
        _ = handle.identity
    with ExitStack() as files:
        with one_reading(request):
            prepared = [files.enter_context(prepared_import(each)) for each in imports]
        common = _common_seeds(prepared)
        _require_one_shape(request, prepared)
        classes = _common_classes(prepared, common)
        store = files.enter_context(_temporary_store())
        for each in prepared:
            write_import(store, each, progress)
        options = ReproducibilityOptions(
            encoder=encoder,
            threshold=request.threshold,
            mae_threshold=request.mae_threshold,
            allow_unchecked=request.allow_unchecked,
        )
        context = Context(
            store,
            base=Path.cwd(),
            encoders=specs,
            device=request.device,
            progress=progress,
            download=request.download,
        )
        (row,) = reproducibility_rows(reproducibility(context, options, classes=classes), options)
    declared = row["checked"] and _one_noise(request)
    return {
        "a": str(request.a.path),
        "b": str(request.b.path),
        "kind": "vectors" if prepared[0].withheld else "images",
        "encoder": encoder,
        "threshold": request.threshold,
        "mae_threshold": request.mae_threshold,
        **{name: row[name] for name in _SCORES},
        "seeds": row["seeds"],
        "only_a": len(prepared[0].samples.seeds) - len(common),
        "only_b": len(prepared[1].samples.seeds) - len(common),
        "noise_a": prepared[0].noise.contract,
        "noise_b": prepared[1].noise.contract,
        **_chance_within(classes),
        "checked": row["checked"] and not declared,
        "noise": "declared" if declared else "checked" if row["checked"] else "unchecked",
        "notes": [note for each in prepared for note in _notes(each, labelled=classes is None)],
    }


def _one_noise(request: CompareRequest) -> bool:
    """Say whether both sides name the same noise, in whatever spelling of a file's path."""
    a, b = request.a.noise, request.b.noise
    files = not {a, b} & {UNKNOWN, EDM_CPU}
    return a == b or (files and with_home(a).samefile(with_home(b)))


def _notes(prepared: PreparedImport, *, labelled: bool) -> Iterator[str]:
    for note in prepared.samples.notes:
        if note != LEFT_OUT:
            yield f"{prepared.request.source}: {note}"
    if labelled and prepared.samples.labels is not None:
        yield (
            f"{prepared.request.source}: the other side has no class labels, so chance levels are "
            "over all classes and not within each."
        )


def _unpaired(found: str) -> PairingError:
    return PairingError(
        found,
        "Samples are compared only when they come from the same noise.",
        "Name the noise with --noise edm-cpu (a CPU generator per seed) or --noise FILE, or pass "
        "--allow-unchecked if you know that equal seeds mean equal noise: the answer then says "
        "that it was not checked.",
    )


def _common_seeds(prepared: Sequence[PreparedImport]) -> set[int]:
    a, b = (set(each.samples.seeds) for each in prepared)
    if not a & b:
        raise MissingDataError(
            f"{prepared[0].request.source} has the seeds {seeds_text(a)}, and "
            f"{prepared[1].request.source} the seeds {seeds_text(b)}.",
            "Samples are compared at equal seeds.",
            "Compare samples that were made from the same seeds.",
        )
    return a & b


def _chance_within(classes: dict[int, int] | None) -> dict[str, int | None]:
    """Say within how many classes the chance levels are, and how many seeds these have."""
    if classes is None:
        return {"classes": None, "chance_seeds": None}
    labels = np.asarray(list(classes.values()))
    shared = labels[in_shared_classes(labels)]
    return {"classes": len(np.unique(shared)), "chance_seeds": len(shared)}


def _common_classes(prepared: Sequence[PreparedImport], common: set[int]) -> dict[int, int] | None:
    """Return the class of each common seed where both sides say it."""
    a, b = (
        None
        if each.samples.labels is None
        else dict(zip(each.samples.seeds, each.samples.labels, strict=True))
        for each in prepared
    )
    if a is None or b is None:
        return None
    differ = sorted(seed for seed in common if a[seed] != b[seed])
    if differ:
        raise PairingError(
            f"The class labels of {prepared[0].request.source} and {prepared[1].request.source} "
            f"differ at the seeds {seeds_text(differ)}.",
            "Samples are compared that were made under the same class.",
            "Compare samples of equal labels; where arr_1 is something else than labels, or the "
            "two number the classes differently, save both files without it.",
        )
    return {seed: a[seed] for seed in common}


def _require_one_shape(request: CompareRequest, prepared: Sequence[PreparedImport]) -> None:
    a, b = (each.samples.shape for each in prepared)
    if a == b:
        return
    texts = ["×".join(map(str, shape)) for shape in (a, b)]
    if prepared[0].withheld:
        raise SpecError(
            f"The vectors of {request.a.path} have {a[0]} numbers, those of {request.b.path} "
            f"{b[0]}.",
            "Vectors are compared that one encoder made.",
            "Give vectors of one encoder.",
        )
    if not request.allow_unchecked:
        raise _unpaired(
            f"The samples of {request.a.path} have the shape {texts[0]}, those of "
            f"{request.b.path} {texts[1]}, and noise of different shapes is not the same."
        )
    if request.encoder in {None, "pixel"}:
        raise SpecError(
            f"The samples of {request.a.path} have the shape {texts[0]}, those of "
            f"{request.b.path} {texts[1]}.",
            "Pixels are compared of images of one shape.",
            "Make the images equally large, or choose an encoder that takes both, with --encoder."
            if a[0] == b[0]
            else "The channels differ: make both grey or both RGB, or choose an encoder that takes "
            "both, with --encoder.",
        )


@contextmanager
def _temporary_store() -> Iterator[SampleStore]:
    with tempfile.TemporaryDirectory(prefix="reprostore-compare-") as folder:
        try:
            yield create_store(Path(folder) / "compared.zarr")
        except StorageError as error:
            if folder not in str(error):
                raise
            reason = error.__cause__.strerror if isinstance(error.__cause__, OSError) else error
            raise StorageError(
                f"The temporary folder {Path(folder).parent} cannot be written: {reason}.",
                "Both sides are imported there while they are compared, and removed again.",
                "Make room, or name another folder in the environment variable TMPDIR.",
            ) from error
