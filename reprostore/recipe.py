"""How a model is trained: everything that is needed to do it again, apart from data and seed."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Field, FiniteFloat, ValidationError, field_validator, model_validator

from reprostore.errors import SpecError
from reprostore.noise_schedules import PREDICTIONS, check_recipe_schedule
from reprostore.seeds import shorten
from reprostore.specs import CLOSED_FORMS, JsonValues, Spec

VP_OBJECTIVES = PREDICTIONS
"""The objectives under a variance-preserving, discrete noise schedule."""

Positive = Annotated[int, Field(gt=0)]


class RecipeSpec(Spec):
    """Architecture, objective and optimization of a training.

    Attributes
    ----------
    architecture : str
        "unet", diffusers' UNet2DModel.
    width : int
        Channels at full resolution.
    depth : int
        Resolution levels; each halves the resolution of the one before.
    multipliers : tuple of int, optional
        Channels of each level as multiples of `width`; 1, 2, 4, … when left out.
    layers : int
        Residual blocks per level.
    attention : tuple of int
        Levels (0 is full resolution) that have self-attention; the middle block always has it.
    norm_groups, head_dim : int
        Groups of the group normalization, and channels per attention head.
    dropout : float
        Probability.
    objective : str
        What the network learns to predict: "epsilon", "v_prediction" or "sample" under a
        variance-preserving schedule of discrete timesteps, "edm" (the preconditioned denoiser of
        Karras et al. 2022) or "flow" (the velocity ε − x_0 of a rectified flow).
    noise_schedule : dict
        Values of diffusers' DDPMScheduler that replace its linear betas from 1e-4 to 0.02 in
        1,000 timesteps; only for the first three objectives.
    sigma_data, p_mean, p_std : float
        Of "edm": σ_data, and mean and standard deviation of ln σ in training.
    steps, images : int
        Optimizer steps, or training images seen, of which there are `batch_size` a step: one of
        the two.
    batch_size : int
        Images per optimizer step, at most 1,000,000.
    learning_rate : float
        Its maximum.
    schedule : str
        How the learning rate goes on after the warm-up: "constant", "linear" or "cosine" (to 0).
    warmup : int
        Steps over which the learning rate rises from 0.
    weight_decay : float
        Of AdamW; 0 is Adam.
    max_grad_norm : float, optional
        Norm to which gradients are clipped.
    ema_decay : float
        Decay per step of the average of the weights that is the trained model, after t steps at
        most (1 + t)/(10 + t), as diffusers' `EMAModel` begins; 0 is none.
    augmentation : tuple of str
        "flip" (left to right, half of the images) or nothing.
    checkpoints : tuple of int
        Steps at which the model is kept beside the last one, as NAME@STEP.
    start_from : str, optional
        A diffusers folder to fine-tune instead of a new network.
    trainable : str or tuple of str
        Of a fine-tuning: "all", "attention", or patterns of parameter names such as
        "mid_block.*".
    precision : str
        "float32", or "bfloat16" or "float16" for autocast on a GPU.
    """

    architecture: Literal["unet"] = "unet"
    width: Positive = 64
    depth: Positive = 2
    multipliers: tuple[Positive, ...] | None = None
    layers: Positive = 1
    attention: tuple[Annotated[int, Field(ge=0)], ...] = ()
    norm_groups: Positive = 8
    head_dim: Positive = 8
    dropout: float = Field(default=0.0, ge=0, lt=1)
    objective: Literal["epsilon", "v_prediction", "sample", "edm", "flow"] = "epsilon"
    noise_schedule: JsonValues = Field(default_factory=dict)
    sigma_data: FiniteFloat = Field(default=0.5, gt=0)
    p_mean: FiniteFloat = -1.2
    p_std: FiniteFloat = Field(default=1.2, gt=0)
    steps: Positive | None = None
    images: Positive | None = None
    batch_size: int = Field(default=64, gt=0, le=1_000_000)
    learning_rate: FiniteFloat = Field(default=1e-3, gt=0, le=1e30)
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    warmup: int = Field(default=0, ge=0)
    weight_decay: FiniteFloat = Field(default=0.0, ge=0)
    max_grad_norm: FiniteFloat | None = Field(default=None, gt=0)
    ema_decay: float = Field(default=0.999, ge=0, lt=1)
    augmentation: tuple[Literal["flip"], ...] = ()
    checkpoints: tuple[Positive, ...] = ()
    start_from: Annotated[str, Field(min_length=1)] | None = None
    trainable: Literal["all", "attention"] | tuple[str, ...] = "all"
    precision: Literal["float32", "bfloat16", "float16"] = "float32"

    @field_validator("noise_schedule")
    @classmethod
    def _noise_levels_follow(cls, values: dict[str, Any]) -> dict[str, Any]:
        check_recipe_schedule(values)
        return values

    @field_validator("start_from")
    @classmethod
    def _starts_from_a_network(cls, source: str | None) -> str | None:
        if source is not None and (source in CLOSED_FORMS or source.startswith("python:")):
            raise SpecError(
                f"{shorten(source)!r} is no network in a diffusers folder.",
                "A training starts from such a folder: closed forms and functions have no weights "
                "to go on from.",
                "Name the folder of a trained network, or remove `start_from`.",
            )
        return source

    @model_validator(mode="after")
    def _can_be_trained(self) -> Self:
        if (self.steps is None) == (self.images is None):
            raise SpecError(
                "Neither `steps` nor `images` is given."
                if self.steps is None
                else f"`steps` is {self.steps} and `images` is {self.images}.",
                "The length of a training is given once, in optimizer steps or in images.",
                "Give one of the two.",
            )
        if self.multipliers is not None and len(self.multipliers) != self.depth:
            raise SpecError(
                f"`multipliers` has {len(self.multipliers)} values and `depth` is {self.depth}.",
                "Each resolution level has one multiplier.",
                "Give as many multipliers as levels, or correct `depth`.",
            )
        if any(level >= self.depth for level in self.attention):
            raise SpecError(
                f"`attention` names level {max(self.attention)} and `depth` is {self.depth}.",
                f"The levels are 0 to {self.depth - 1}.",
                "Correct `attention` or `depth`.",
            )
        for channels in self.channels:
            if channels % self.norm_groups or channels % self.head_dim:
                raise SpecError(
                    f"A level has {channels} channels, `norm_groups` is {self.norm_groups} and "
                    f"`head_dim` is {self.head_dim}.",
                    "Both divide the channels of every level, width × its multiplier.",
                    "Choose another `width`, or smaller groups and heads.",
                )
        if self.noise_schedule and self.objective not in VP_OBJECTIVES:
            raise SpecError(
                f'`noise_schedule` stands beside the objective "{self.objective}".',
                "Only epsilon, v_prediction and sample have a discrete noise schedule.",
                "Remove `noise_schedule`.",
            )
        if self.trainable != "all" and self.start_from is None:
            raise SpecError(
                "`trainable` stands without `start_from`.",
                "Parts of a network are trained alone only when the rest was trained before.",
                "Name a checkpoint in `start_from`, or remove `trainable`.",
            )
        late = [step for step in self.checkpoints if step > self.total_steps]
        if late or self.warmup > self.total_steps:
            raise SpecError(
                f"The training has {self.total_steps} steps, and "
                + (f"`checkpoints` names {late[0]}." if late else f"`warmup` is {self.warmup}."),
                "Checkpoints and the end of the warm-up lie within the training.",
                "Correct one of them.",
            )
        return self

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of each resolution level."""
        multipliers = self.multipliers or tuple(2**level for level in range(self.depth))
        return tuple(self.width * multiplier for multiplier in multipliers)

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole training."""
        return self.steps if self.steps is not None else -(-(self.images or 0) // self.batch_size)

    def with_width(self, width: int) -> Self:
        """Return the recipe of a model that is wider or narrower.

        A network that is fine-tuned has the width of its checkpoint, whatever is asked for.

        Raises
        ------
        SpecError
            The groups or heads do not divide the channels.
        """
        if self.start_from is not None:
            return self
        try:
            return self.model_validate(self.model_dump() | {"width": width})
        except ValidationError as error:
            raise error.errors()[0]["ctx"]["error"] from error

    def check_shape(self, sample_shape: Sequence[int]) -> None:
        """Refuse samples that a new network of this recipe cannot take.

        Parameters
        ----------
        sample_shape : sequence of int
            (channel, y, x).

        Raises
        ------
        SpecError
            A level would halve an odd number of pixels.
        """
        factor = 2 ** (self.depth - 1)
        odd = [length for length in sample_shape[1:] if length % factor]
        if odd and self.start_from is None:
            raise SpecError(
                f"`depth` is {self.depth}, and samples have the shape {tuple(sample_shape)}.",
                f"Each of {self.depth} levels but the first halves the resolution: height and "
                f"width are multiples of {factor}.",
                "Choose a smaller `depth`, or another dataset.",
            )
