"""Options of the analysis `transition`."""

from typing import Annotated, Literal

from pydantic import Field

from reprostore.specs import Name, Spec


class TransitionOptions(Spec):
    """Options of the analysis `transition`.

    Attributes
    ----------
    encoder : str
        In whose space samples are compared.
    threshold : float
        θ of the RP score between networks.
    copy_threshold : float, optional
        θ of the GL score; `threshold` when left out.
    oracle_threshold : float, optional
        θ of the RP score to the oracle and to the Gaussian; `threshold` when left out.
    models : tuple of str, optional
        The models, oracles and Gaussians among them; all of the study when left out.
    sampler, condition : str, optional
        Whose runs are compared, when models have runs with several.
    g, r : float
        Memorization is where GL < g, generalization where GL > 1 − g and RP > r. The defaults
        draw both regimes about where the paper does on its own scores.
    dimension : str
        Estimator of the intrinsic dimension for the axis N/dimension: "twonn", "mle" (Levina and
        Bickel's with 20 neighbors), or "off".
    control : bool
        Compare with held-out items, which the study must then name.
    allow_unchecked : bool
        As in `reproducibility`.
    resamples : int
        Of the bootstrap over seeds.
    confidence : float
        Of all intervals.
    rng_seed : int
        Seed of the resampling.
    """

    encoder: Name = "pixel"
    threshold: float = 0.6
    copy_threshold: float | None = None
    oracle_threshold: float | None = None
    models: tuple[Name, ...] | None = None
    sampler: Name | None = None
    condition: Name | None = None
    g: Annotated[float, Field(gt=0, lt=0.5)] = 0.1
    r: Annotated[float, Field(ge=0, le=1)] = 0.4
    dimension: Literal["twonn", "mle", "off"] = "twonn"
    control: bool = True
    allow_unchecked: bool = False
    resamples: Annotated[int, Field(gt=0)] = 1000
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95
    rng_seed: Annotated[int, Field(ge=0)] = 0

    @property
    def thresholds(self) -> dict[str, float]:
        """θ of each score: "rp", "copy" and "oracle"."""
        given = {"copy": self.copy_threshold, "oracle": self.oracle_threshold}
        return {"rp": self.threshold} | {
            name: self.threshold if value is None else value for name, value in given.items()
        }
