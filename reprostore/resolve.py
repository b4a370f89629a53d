"""From a run as written in a study to the run as it is recorded."""

from collections.abc import Mapping

import torch

from reprostore.errors import ReprostoreError
from reprostore.models.base import Model
from reprostore.pending import RunRequest
from reprostore.samplers import Sampler, build_sampler
from reprostore.specs import ModelSpec, RunSpec


def prepare(
    request: RunRequest, model: Model, weights: Mapping[str, str], *, batch_size: int, dtype: str
) -> tuple[RunSpec, Sampler]:
    """Resolve a run: the sampler with all of its values, and the RunSpec that is recorded.

    Parameters
    ----------
    request : RunRequest
        The run as written in a study.
    model : Model
        The loaded model.
    weights : mapping
        `reprostore.models.weight_digests` of the model.
    batch_size : int
        Samples per forward pass.
    dtype : str
        In what the model computes.

    Raises
    ------
    SpecError, ModelError
        The sampler cannot be used with this model.
    """
    try:
        sampler = build_sampler(request.sampler_spec, model)
    except ReprostoreError as error:
        found, expected, action = error.parts
        raise type(error)(
            f"The model {request.model} cannot run with the sampler {request.sampler}. {found}",
            expected,
            f'{action} To run it with other samplers only, list them: samplers = ["…"] under '
            f"[models.{request.model}].",
        ) from error
    spec = RunSpec(
        model=request.model,
        sampler=request.sampler,
        condition=request.condition,
        kind=model.kind,
        sample_dims=model.sample_dims,
        sample_shape=model.sample_shape,
        model_spec=with_parameters(request.model_spec, model),
        sampler_spec=request.sampler_spec,
        condition_spec=request.condition_spec,
        weights=dict(weights),
        scheduler=sampler.identity,
        noise_scale=sampler.noise_scale,
        compute_dtype=dtype,
        stored_dtype=request.sampler_spec.dtype,
        steps=sampler.steps,
        batch_size=batch_size,
    )
    return spec, sampler


def with_parameters(spec: ModelSpec, model: Model) -> ModelSpec:
    """Fill in the number of parameters of a torch network where the study leaves it out."""
    network = getattr(model, "network", None)
    if spec.parameters is None and isinstance(network, torch.nn.Module):
        count = sum(parameter.numel() for parameter in network.parameters())
        return spec.model_copy(update={"parameters": count}) if count else spec
    return spec
