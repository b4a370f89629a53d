"""The noise that imported samples began from: drawn again from seeds, recorded, or unknown."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from reprostore.errors import DatasetError, NotFoundError, SpecError
from reprostore.importing.request import EDM_CPU, UNKNOWN, ImportRequest
from reprostore.importing.stored_arrays import StoredArray, array_names
from reprostore.layout import PROBE_LENGTH
from reprostore.noise_probes import seed_probes
from reprostore.paths import with_home
from reprostore.seeds import seeds_text
from reprostore.specs import NOISE_CONTRACT

RECORDED: Final = "recorded"

SLACK: Final = 0.02
"""Noise that was stored in half precision, or clipped far out, may differ by this beyond chance."""

DEVIATIONS: Final = 6
"""Standard errors by which the moments of true noise differ at most: one file in 10^8."""

Probes = Callable[[NDArray[np.int64]], NDArray[np.float32]]


@dataclass(frozen=True)
class KnownNoise:
    """What is known of the noise of samples that are imported.

    Attributes
    ----------
    contract : str
        Noise contract of the run.
    digest : str or None
        sha256 of the recorded noise.
    probes : callable
        Ascending row numbers → (row, 8) float32, NaN where nothing is known.
    """

    contract: Literal["cpu-torch-normal-v1", "recorded", "unknown"]
    digest: str | None
    probes: Probes


def known_noise(
    request: ImportRequest, seeds: Sequence[int], sample_shape: tuple[int, ...]
) -> KnownNoise:
    """Return the noise that a request names.

    Parameters
    ----------
    request : ImportRequest
        Its `noise` and `noise_scale`.
    seeds : sequence of int
        Of the samples, in their order.
    sample_shape : tuple of int
        Shape of one sample, (channel, y, x).

    Raises
    ------
    NotFoundError, SpecError
        There is no such file, or its array is not named.
    DatasetError
        The file holds something else than the noise of these samples.

    References
    ----------
    NVlabs/edm, ``generate.py::StackedRandomGenerator``: its default device is CUDA, whose
    generators draw other noise than those of the CPU from the same seeds.
    """
    if request.noise == UNKNOWN:
        return KnownNoise("unknown", None, _no_probes)
    if request.noise == EDM_CPU:
        numbers = np.asarray(seeds, dtype=np.int64)
        return KnownNoise(
            NOISE_CONTRACT, None, lambda rows: seed_probes(numbers[rows], sample_shape)
        )
    path = with_home(request.noise)
    if path.suffix not in {".npy", ".npz"} or not path.is_file():
        raise NotFoundError(
            f"The noise {request.noise!r} is no .npy or .npz file that exists.",
            f'Noise is "{UNKNOWN}", "{EDM_CPU}" (one generator on the CPU per seed), or a file of '
            "it.",
            "Correct it, or leave it out where the noise is not known.",
        )
    probes, digest = _recorded(path, seeds, sample_shape, request.noise_scale)
    return KnownNoise(RECORDED, digest, lambda rows: probes[rows])


def _no_probes(rows: NDArray[np.int64]) -> NDArray[np.float32]:
    return np.full((len(rows), PROBE_LENGTH), np.nan, dtype=np.float32)


def _recorded(
    path: Path, seeds: Sequence[int], sample_shape: tuple[int, ...], scale: float
) -> tuple[NDArray[np.float32], str]:
    """Return the probes of a file of noise and its sha256, having read and judged all values."""
    what, count = f"the noise {path}", len(seeds)
    with StoredArray(path, None, _array_name(path, what), what) as array:
        if "seeds" in array.names and array.beside("seeds").tolist() != list(seeds):
            raise SpecError(
                f"The array seeds in {what} names other seeds than the samples have, or another "
                "order.",
                f"The noise is in the order of the samples, whose seeds are {seeds_text(seeds)}.",
                "Save the noise in the order of the samples, beside these seeds or without any.",
            )
        if array.shape != (count, *sample_shape):
            raise DatasetError(
                f"{what[0].upper()}{what[1:]} has the shape {array.shape}.",
                f"The noise of {count} samples of shape {sample_shape} has the shape "
                f"{(count, *sample_shape)}, in the order of their seeds.",
                "Name the file of the noise that these samples began from.",
            )
        if array.dtype.kind != "f":
            raise DatasetError(
                f"{what[0].upper()}{what[1:]} has values of the type {array.dtype}.",
                "Noise is in floating point.",
                "Name the file of the initial noise, not of images.",
            )
        content = array.content()
        content.update(f" {scale!r}".encode())
        probes = np.full((count, PROBE_LENGTH), np.nan, dtype=np.float32)
        sums = np.zeros(5)
        for start, block in array.blocks():
            content.update(np.ascontiguousarray(block, dtype=array.dtype.newbyteorder("<")).data)
            values = block.reshape(len(block), -1).astype(np.float64) / scale
            first = values[:, :PROBE_LENGTH]
            probes[start : start + len(block), : first.shape[1]] = first
            beside = values[:, 1:] * values[:, :-1]
            sums += [*[float((values**power).sum()) for power in (1, 2, 3, 4)], float(beside.sum())]
    _judge(sums / math.prod(array.shape), math.prod(array.shape), scale, what)
    if math.prod(sample_shape) >= PROBE_LENGTH and len(np.unique(probes, axis=0)) < count:
        raise DatasetError(
            f"Several samples in {what} have the same noise.",
            "Every seed begins from noise of its own.",
            "Name the file of the noise that these samples began from.",
        )
    return probes, content.hexdigest()


def _array_name(path: Path, what: str) -> str:
    """Return which array of an .npz file is the noise: `arr_0`, or the only one but the seeds."""
    names = [name for name in array_names(path) if name != "seeds"]
    if len(names) < 2 or "arr_0" in names:
        return names[0] if len(names) == 1 else "arr_0"
    raise SpecError(
        f"{what[0].upper()}{what[1:]} holds the arrays {', '.join(names[:20])}.",
        "Which of them is the noise is not guessed.",
        "Save it as arr_0, or alone.",
    )


def _judge(moments: NDArray[np.float64], count: int, scale: float, what: str) -> None:
    """Refuse what is no standard normal noise, by its moments and the product of neighbors.

    Of n values, the mean has the standard error √(1/n), the mean square √(2/n), the mean cube
    √(15/n), the mean fourth power √(96/n) and the mean product of neighboring values, which is
    near the mean square in images, √(1/n), about 0, 1, 0, 3 and 0.
    """
    expected, variances = np.asarray([0, 1, 0, 3, 0]), np.asarray([1, 2, 15, 96, 1])
    allowed = SLACK * np.asarray([1, 2, 3, 12, 1]) + DEVIATIONS * np.sqrt(variances / count)
    with np.errstate(invalid="ignore"):
        fits = np.abs(moments - expected) <= allowed
    if not fits.all():
        mean, square = moments[:2]
        deviation = math.sqrt(max(0.0, square - mean**2)) if np.isfinite(square) else math.nan
        raise SpecError(
            f"The values of {what}, divided by {scale:g}, have the mean {mean:.3g}, the standard "
            f"deviation {deviation:.3g}, the mean fourth power {moments[3]:.3g} and the mean "
            f"product of neighbors {moments[4]:.3g}.",
            "Initial noise is standard normal: about 0, 1, 3 and 0. Other values would pair "
            "samples wrongly.",
            "Name the file of the initial noise, and give as noise scale the number by which it "
            "was multiplied, such as 80.",
        )
