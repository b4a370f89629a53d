"""Solvers that turn noise into samples: diffusers' own, and those of Karras et al. 2022.

Importing this package does not import torch.
"""

from typing import TYPE_CHECKING

from reprostore.errors import SpecError
from reprostore.samplers.base import Sampler, State
from reprostore.samplers.table import TESTED, canonical_scheduler, known_schedulers
from reprostore.specs import SamplerSpec

if TYPE_CHECKING:
    from reprostore.models.base import Model

__all__ = [
    "TESTED",
    "Sampler",
    "State",
    "build_sampler",
    "canonical_scheduler",
    "known_schedulers",
]


def build_sampler(spec: SamplerSpec, model: "Model") -> Sampler:
    """Bind a sampler to a model.

    Parameters
    ----------
    spec : SamplerSpec
        Solver, steps and what is recorded.
    model : Model
        From `reprostore.models.load_model`.

    Returns
    -------
    Sampler
        Ready to sample; may be used for any number of batches.

    Raises
    ------
    SpecError
        The scheduler is not tested, or the steps or options are not valid for it.
    ModelError
        The solver cannot be used with this model, or the model has no noise schedule.
    """
    name = canonical_scheduler(spec.scheduler)
    if spec.eta and name != "DDIMScheduler":
        raise SpecError(
            f"The sampler has eta = {spec.eta} with {name}.",
            "eta is the stochasticity of DDIM; other solvers have none.",
            "Remove eta, or choose ddim.",
        )
    if TESTED[name].library == "diffusers":
        from reprostore.samplers.scheduled import ScheduledSampler

        return ScheduledSampler(spec, model)
    from reprostore.samplers.edm import EdmSampler

    return EdmSampler(spec, model)
