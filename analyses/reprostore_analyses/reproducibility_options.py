"""Options of the analysis `reproducibility`."""

from typing import Annotated

from pydantic import Field

from reprostore.specs import Name, Spec


class ReproducibilityOptions(Spec):
    """Options of the analysis `reproducibility`.

    Attributes
    ----------
    encoder : str
        In whose space samples are compared.
    threshold : float
        θ of the RP score, a cosine; the paper takes 0.6 with SSCD.
    mae_threshold : float
        Of the MAE score, on the 0–255 scale; the paper takes 15.
    models, samplers : tuple of str, optional
        Names of the runs; all of the study when left out.
    compare : tuple of pairs, optional
        The pairs of models that the table shows; the matrix is always that of all runs.
    allow_unchecked : bool
        Accept pairs whose noise cannot be compared; the result marks them.
    q : float
        Share of pairs of different seeds that the chance threshold lets through.
    confidence : float
        Of all intervals.
    rng_seed : int
        Seed of the resampling.
    """

    encoder: Name = "pixel"
    threshold: float = 0.6
    mae_threshold: float = 15.0
    models: tuple[Name, ...] | None = None
    samplers: tuple[Name, ...] | None = None
    compare: tuple[tuple[Name, Name], ...] | None = None
    allow_unchecked: bool = False
    q: Annotated[float, Field(gt=0, lt=1)] = 0.01
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95
    rng_seed: Annotated[int, Field(ge=0)] = 0
