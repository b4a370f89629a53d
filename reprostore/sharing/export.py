"""Samples, items and vectors of a store as files that other tools read unchanged."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

from filelock import FileLock

from reprostore.embed.handle import Progress
from reprostore.errors import SpecError
from reprostore.sharing.exporting.arrays import (
    ArrayFile,
    ExportedFile,
    ImagesNpz,
    ValuesNpy,
    VectorsNpz,
)
from reprostore.sharing.exporting.datasets import dataset_selection
from reprostore.sharing.exporting.images import PngFolder
from reprostore.sharing.exporting.record import read_record, record_of, write_record
from reprostore.sharing.exporting.runs import run_selection
from reprostore.sharing.exporting.sources import Selection
from reprostore.specs import Subset
from reprostore.store import SampleStore
from reprostore.store.groups import storage_errors
from reprostore.store.targets import require_target

Format = Literal["png", "npz", "npy", "vectors"]

_FILES: dict[str, Callable[[], ArrayFile]] = {
    "npz": ImagesNpz,
    "npy": ValuesNpy,
    "vectors": VectorsNpz,
}


@dataclass(frozen=True)
class ExportRequest:
    """What is exported, and how.

    Attributes
    ----------
    folder : Path
        Every run becomes ``FOLDER/model/sampler/condition`` (a folder of PNG files, or a file with
        a suffix), every dataset ``FOLDER/datasets/NAME``, whether there is one or many.
    format : str
        "png": ``000123.png``, seeds with six digits, as EDM names them. "npz": ``arr_0`` (N, y, x,
        channel) uint8. "npy": (N, *shape) float32, the stored values. "vectors": npz with
        ``features`` (N, D) float32. An npz also holds the numbers, ``seeds`` or ``train_index``.
    runs : sequence of str
        Paths model/sampler/condition.
    datasets : sequence of Subset
        Items of datasets in the store.
    seeds : str, optional
        Ranges such as "0-999", which all of the runs must have; all that are written if left out.
    step : int, optional
        A recorded step of the runs; the last when left out.
    subdirs : bool
        PNG files by thousands, ``000000/000123.png``.
    encoder : str, optional
        Whose vectors; for the format "vectors", and only for it.
    """

    folder: Path
    format: Format
    runs: Sequence[str] = ()
    datasets: Sequence[Subset] = ()
    seeds: str | None = None
    step: int | None = None
    subdirs: bool = False
    encoder: str | None = None

    def __post_init__(self) -> None:
        """Refuse what does not go together."""
        formats = ", ".join(get_args(Format))
        for wrong, found, expected, action in (
            (
                self.format not in get_args(Format),
                f"{self.format!r} is no format of an export.",
                f"Formats are {formats}.",
                "Choose one of these.",
            ),
            (
                (self.encoder is None) == (self.format == "vectors"),
                "The format vectors needs an encoder."
                if self.encoder is None
                else f"An encoder is named, and the format is {self.format}.",
                "An encoder is named for vectors, and for vectors only.",
                "Use --format vectors together with --encoder NAME.",
            ),
            (
                self.subdirs and self.format != "png",
                f"Sub-folders are asked for, and the format is {self.format}.",
                "Folders of PNG files are divided into sub-folders, and files are not.",
                "Leave out --subdirs, or use --format png.",
            ),
            (
                not self.runs and not self.datasets,
                "Nothing is named to be exported.",
                "Runs or datasets of the store are exported.",
                "Name them with --run, --model, --sampler or --dataset.",
            ),
            (
                not self.runs and (self.seeds is not None or self.step is not None),
                "Seeds or a step are named, and no run.",
                "Items of datasets are named by an index, as in digits@0-999.",
                "Leave out --seeds and --step, or name a run.",
            ),
        ):
            if wrong:
                raise SpecError(found, expected, action)


class _Target(Protocol):
    """A folder or file that is to be written."""

    place: Path
    selection: Selection
    values: str

    def check(self, recorded: dict[str, Any], before: dict[str, Any] | None) -> None: ...

    def write(
        self, progress: Callable[[int], None], record: Callable[[dict[str, str]], None]
    ) -> int: ...


def export_samples(
    store: SampleStore, request: ExportRequest, *, progress: Progress | None = None
) -> list[dict[str, Any]]:
    """Write runs and datasets of a store as PNG folders, npz, npy or vectors.

    Everything is checked before anything is written. What is there already of the same export is
    kept, so that one that was stopped goes on; what is there of anything else is refused. Beside
    each folder or file stands a record (``NAME.json``) of the run, its seeds and digests.

    Parameters
    ----------
    store : SampleStore
        The store; reading is enough, also from a packed one.
    request : ExportRequest
        What is exported.
    progress : callable, optional
        Called with a name, the finished and all samples.

    Returns
    -------
    list of dict
        One row per run and dataset: `kind`, `name`, `format`, `path`, `count` and how many of
        these are `new`.

    Raises
    ------
    MissingDataError
        A run, seed, step, dataset or vector is not in the store, or samples are withheld.
    SpecError
        Samples are no images that the format can hold, or the folder lies in a store.
    IdentityError
        Something else is where the export is to be written.
    CorruptionError
        The store is damaged.
    """
    folder = request.folder.absolute()
    require_target(folder, "The export")
    selections = [*_run_selections(store, request), *_dataset_selections(store, request)]
    targets = [_target(folder, request, selection) for selection in selections]
    for target in targets:
        target.check(record_of(store, target.selection, target.values), read_record(target.place))
    return [_exported(store, target, request.format, progress) for target in targets]


def _exported(
    store: SampleStore, target: _Target, form: Format, progress: Progress | None
) -> dict[str, Any]:
    selection = target.selection
    count = len(selection.numbers)
    recorded = record_of(store, selection, target.values)

    def show(done: int) -> None:
        if progress is not None:
            progress(selection.name, done, count)

    with (
        storage_errors(target.place, "The folder" if form == "png" else "The file"),
        _claimed(target.place),
    ):
        before = read_record(target.place)
        target.check(recorded, before)  # another process may have been here

        def record(digests: dict[str, str]) -> None:
            whole = recorded | {"sha256": digests}
            if whole != before:
                write_record(target.place, whole)

        new = target.write(show, record)
    return {
        "kind": selection.kind,
        "name": selection.name,
        "format": form,
        "path": str(target.place),
        "count": count,
        "new": new,
    }


def _run_selections(store: SampleStore, request: ExportRequest) -> Iterator[Selection]:
    for path in dict.fromkeys(request.runs):
        yield run_selection(store, store.run(path), request.seeds, request.step, request.encoder)


def _dataset_selections(store: SampleStore, request: ExportRequest) -> Iterator[Selection]:
    for subset in dict.fromkeys(request.datasets):
        yield dataset_selection(store, subset, request.encoder)


def _target(folder: Path, request: ExportRequest, selection: Selection) -> _Target:
    place = folder / selection.path
    require_target(place, "The export")
    if request.format == "png":
        return PngFolder(place, selection, subdirs=request.subdirs)
    kind = _FILES[request.format]()
    return ExportedFile(place.with_name(place.name + kind.suffix), selection, kind)


@contextmanager
def _claimed(place: Path) -> Iterator[None]:
    """Keep a second export of the same name waiting: both would write the same files."""
    new = [folder for folder in (place, *place.parents) if not folder.exists()]
    place.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(f"{place}.lock", thread_local=False)
    try:
        with lock:
            try:
                yield
            finally:
                Path(lock.lock_file).unlink(missing_ok=True)
    except BaseException:
        for folder in [*(place.glob("*") if place in new else ()), *new]:
            with suppress(OSError):  # what holds something stays
                folder.rmdir()
        raise
