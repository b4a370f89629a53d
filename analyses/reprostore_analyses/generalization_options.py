"""Options of the analysis `generalization`."""

from typing import Annotated

from pydantic import Field

from reprostore.specs import Name, Spec


class GeneralizationOptions(Spec):
    """Options of the analysis `generalization`.

    Attributes
    ----------
    encoder : str
        In whose space samples are compared.
    threshold : float
        θ of the GL score, a cosine; the paper takes 0.6 with SSCD.
    models, samplers : tuple of str, optional
        Names of the runs; all of the study when left out.
    control : bool
        Compare with held-out items, which the study must then name.
    q : float
        Share of real items that the calibrated threshold lets through as copies.
    resamples : int
        Of the bootstrap at the calibrated threshold.
    confidence : float
        Of all intervals.
    rng_seed : int
        Seed of the resampling.
    """

    encoder: Name = "pixel"
    threshold: float = 0.6
    models: tuple[Name, ...] | None = None
    samplers: tuple[Name, ...] | None = None
    control: bool = True
    q: Annotated[float, Field(gt=0, lt=1)] = 0.01
    resamples: Annotated[int, Field(gt=0)] = 1000
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95
    rng_seed: Annotated[int, Field(ge=0)] = 0
