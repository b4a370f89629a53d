"""Frozen value types that say what was made: they round-trip through JSON and are the identity."""

import re
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    field_validator,
    model_validator,
)

from reprostore.canonical import fingerprint, to_jsonable
from reprostore.errors import SpecError
from reprostore.seeds import check_ranges, shorten

NOISE_CONTRACT: Final = "cpu-torch-normal-v1"
"""torch.randn of one CPU generator per sample, float32, seed below 2**32."""

CLOSED_FORMS: Final = ("oracle", "gaussian")
"""Sources of models that are computed from their `trained_on` and have no files."""

IMPORTED: Final = "imported"
"""Source of a model whose samples were made elsewhere."""

CONTENT: Final = "import"
"""Stands among the weights of an imported run whose identity is its content."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+@-]{0,127}")


def is_name(text: str) -> bool:
    """Say whether a text can name a model, sampler, condition, dataset or encoder in a store."""
    return _NAME.fullmatch(text) is not None and text != "zarr.json"


def _checked_name(text: str) -> str:
    if not is_name(text):
        raise SpecError(
            f"{shorten(text)!r} is no valid name.",
            "Names are letters, digits and . _ + @ -, and begin with a letter or digit.",
            "Choose another name of at most 128 characters.",
        )
    return text


def _checked_seeds(text: str) -> str:
    check_ranges(text)
    return text


def _checked_index(text: str) -> str:
    if text != "all":
        check_ranges(text, "index")
    return text


def _jsonable_values(values: dict[str, Any]) -> dict[str, Any]:
    return {key: to_jsonable(value) for key, value in values.items()}


Name = Annotated[str, AfterValidator(_checked_name)]
Seeds = Annotated[str, AfterValidator(_checked_seeds)]
Index = Annotated[str, AfterValidator(_checked_index)]
Scalar = bool | int | FiniteFloat | str | None
JsonValues = Annotated[dict[str, Any], AfterValidator(_jsonable_values)]
StoredDtype = Literal["float32", "float16", "uint8"]
ComputeDtype = Literal["float32", "float16", "bfloat16", "float64"]


class Spec(BaseModel):
    """A frozen specification: unknown keys are errors, and equal specs have equal JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Subset(Spec):
    """Items of a dataset in the store.

    Attributes
    ----------
    dataset : str
        Name of the dataset.
    index : str
        Inclusive ranges and lists of `train_index`, or "all".
    """

    dataset: Name
    index: Index = "all"


class DatasetSpec(Spec):
    """Real images (or other items) that models were trained on.

    Attributes
    ----------
    source : str
        "sklearn:digits", "torchvision:NAME:FOLDER", a folder of images, a .npy file, a .npz file
        as "file.npz:key", or a Zarr array.
    labels : str, optional
        Where integer labels are, in the same notation, when the source does not carry them.
    shuffle : int, optional
        Seed of a fixed permutation: `train_index` counts in the permuted order, so that ranges
        of it are random subsets. The order is that of the stable argsort of the raw 64-bit
        outputs of NumPy's PCG64, which do not change between versions.
    value_range : tuple of float, optional
        The values that black and white have in the source. Needed for floating-point sources
        that are not in [-1, 1]. Items are stored in [-1, 1], or as uint8 where the source is.
    held_out : str, optional
        Items that no model saw, the control of every copy rate.
    """

    source: str = Field(min_length=1)
    labels: str | None = None
    shuffle: int | None = Field(default=None, ge=0)
    value_range: tuple[FiniteFloat, FiniteFloat] | None = None
    held_out: Index | None = None

    @field_validator("value_range")
    @classmethod
    def _black_is_not_white(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and value[0] == value[1]:
            raise SpecError(
                f"`value_range` is {value[0]} twice.",
                "It holds two different numbers, the values of black and of white.",
                "Give both values.",
            )
        return value


class ModelSpec(Spec):
    """Something that denoises.

    Attributes
    ----------
    source : str
        A diffusers folder or hub id, "python:module:factory", "oracle" or "gaussian", or
        "imported". Of a model with a recipe the folder into which it is trained.
    recipe : str, optional
        Name of the recipe by which `repro train` trains this model on `trained_on`.
    trained_on : Subset, optional
        The items this model saw: generalization is measured against these.
    held_out : str, optional
        Items of the same dataset that this model did not see; replaces the dataset's `held_out`.
    noise_schedule : dict, optional
        Scheduler config values (such as `beta_schedule`, `prediction_type`) of a checkpoint that
        carries no `scheduler_config.json`.
    family, parameters, width, training_step, trainer_seed
        By these analyses group models. Of a model with a recipe, `width` replaces that of the
        recipe, and a `training_step` before its last is that of a kept checkpoint.
    samplers, conditions : tuple of str, optional
        Names of those this model runs with, when not all.
    """

    source: str = Field(min_length=1)
    recipe: Name | None = None
    trained_on: Subset | None = None
    held_out: Index | None = None
    noise_schedule: JsonValues | None = None
    family: str | None = None
    parameters: int | None = Field(default=None, gt=0)
    width: int | None = Field(default=None, gt=0)
    training_step: int | None = Field(default=None, ge=0)
    trainer_seed: int | None = None
    samplers: tuple[Name, ...] | None = None
    conditions: tuple[Name, ...] | None = None

    @model_validator(mode="after")
    def _held_out_of_a_dataset(self) -> Self:
        if self.held_out is not None and self.trained_on is None:
            raise SpecError(
                "`held_out` stands without `trained_on`.",
                "The held-out items of a model are items of the dataset that it was trained on.",
                "Add `trained_on`, or remove `held_out`.",
            )
        return self

    @model_validator(mode="after")
    def _trained_into_a_folder(self) -> Self:
        if self.recipe is None:
            return self
        if self.trained_on is None:
            raise SpecError(
                "`recipe` stands without `trained_on`.",
                "A recipe says how a model is trained, and `trained_on` on what.",
                "Add `trained_on`, or remove `recipe`.",
            )
        if self.source in {*CLOSED_FORMS, IMPORTED} or self.source.startswith("python:"):
            raise SpecError(
                f"`recipe` stands beside the source {shorten(self.source)!r}.",
                "A model that is trained has as its source the folder into which it is written.",
                "Write a folder as `source`, or remove `recipe`.",
            )
        return self


class SamplerSpec(Spec):
    """Solver, number of steps, noise schedule, and what is recorded.

    Attributes
    ----------
    scheduler : str
        A diffusers scheduler class of the tested table, its short name, "edm-euler" or "edm-heun";
        of imported samples "imported".
    steps : int
        Number of full solver steps.
    record : "final", "all" or tuple of int
        Which states are stored: k means x_k, the state after k steps; 0 is the scaled noise.
    denoised : bool
        Also store the model's estimate of x_0 at each recorded step.
    dtype : str
        How states are stored: "float32", "float16" or "uint8" (finished images only).
    eta : float
        Stochasticity of DDIM; 0 is deterministic.
    options : dict
        Values that replace those of the checkpoint's scheduler config, or σ_min, σ_max and ρ of
        the EDM solvers.
    """

    scheduler: str = Field(min_length=1)
    steps: int = Field(gt=0, le=1_000_000)
    record: Literal["final", "all"] | tuple[Annotated[int, Field(ge=0)], ...] = "final"
    denoised: bool = False
    dtype: StoredDtype = "float32"
    eta: float = Field(default=0.0, ge=0, le=1)
    options: dict[str, Scalar] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _recorded_states_exist(self) -> Self:
        last = self.recorded_steps()[-1]
        if last > self.steps:
            raise SpecError(
                f"`record` names the state after step {last}, and `steps` is {self.steps}.",
                f"States are numbered from 0, the scaled noise, to {self.steps}, the sample.",
                "Correct `record` or `steps`.",
            )
        if self.dtype == "uint8" and (self.denoised or len(self.recorded_steps()) > 1):
            raise SpecError(
                '`dtype` is "uint8", and more than the finished image is recorded.',
                "Intermediate states and estimates of x_0 do not fit into 8 bits.",
                'Use `dtype = "float16"`, or `record = "final"` without `denoised`.',
            )
        return self

    def recorded_steps(self) -> tuple[int, ...]:
        """Return the recorded steps in increasing order; the last state is always among them."""
        if self.record == "final":
            return (self.steps,)
        if self.record == "all":
            return tuple(range(self.steps + 1))
        return tuple(sorted({*self.record, self.steps}))


class ConditionSpec(Spec):
    """What a model is conditioned on; only "none" (unconditional) so far."""

    kind: Literal["none"] = "none"


class EncoderSpec(Spec):
    """What turns samples into vectors.

    Attributes
    ----------
    kind : str
        Which of the kinds.
    weights : str, optional
        Path of the weights file, for kinds that have one; for "torchvision" also the name of
        weights that torchvision knows.
    preprocessing : str, optional
        Name of a preset, such as "sscd".
    batch_size : int
        Images per forward pass.
    metric : str, optional
        How vectors are compared, "cosine" when not given.
    model : str, optional
        Name of the network in its library.
    net : str, optional
        Network of LPIPS.
    layer : str, optional
        Node of a torchvision network whose output is the vector.
    layout, output : str, optional
        Order of the axes of an ONNX file's input, "nchw" or "nhwc", and name of its output, where
        the file leaves them open.
    factory : str, optional
        "module:function" of a kind that is written in Python.
    options : dict
        Keyword arguments of the factory.
    """

    kind: Literal[
        "pixel", "sscd", "lpips", "torchscript", "onnx", "timm", "torchvision", "dinov2", "python"
    ]
    weights: str | None = None
    preprocessing: Literal["sscd", "sscd-288", "dcr", "imagenet", "dinov2", "none"] | None = None
    batch_size: int = Field(default=64, gt=0)
    metric: Literal["cosine", "squared_l2"] | None = None
    model: str | None = Field(default=None, min_length=1)
    net: Literal["alex", "vgg", "squeeze"] | None = None
    layer: str | None = Field(default=None, min_length=1)
    layout: Literal["nchw", "nhwc"] | None = None
    output: str | None = Field(default=None, min_length=1)
    factory: str | None = Field(default=None, min_length=1)
    options: JsonValues = Field(default_factory=dict)


class RunSpec(Spec):
    """One run: everything that determines the bits of its samples, and how they are laid out.

    Attributes
    ----------
    model, sampler, condition : str
        The names that make up the run's path.
    kind : str
        What a sample is: "image", "trajectory" or "sequence".
    sample_dims, sample_shape
        Names and lengths of the dimensions of one sample, e.g. ("channel", "y", "x"), (3, 32, 32).
    model_spec, sampler_spec, condition_spec
        As written in the study.
    weights : dict
        sha256 of every file that defines the model, by file name.
    scheduler : dict
        All resolved values of the solver and its noise schedule.
    noise : str
        The noise contract, "cpu-torch-normal-v1"; of imported samples also "recorded", where the
        noise itself was given and its probes were taken from it, or "unknown".
    noise_scale : float
        The first state is this times eps.
    compute_dtype, stored_dtype : str
        In what the model computed, and what is stored.
    steps : tuple of int
        The recorded steps.
    batch_size : int
        Samples per forward pass; the last batch is padded to it. Not part of the identity.
    """

    model: Name
    sampler: Name
    condition: Name = "none"
    kind: Literal["image", "trajectory", "sequence"] = "image"
    sample_dims: tuple[str, ...] = ("channel", "y", "x")
    sample_shape: tuple[Annotated[int, Field(gt=0)], ...]
    model_spec: ModelSpec
    sampler_spec: SamplerSpec
    condition_spec: ConditionSpec = ConditionSpec()
    weights: dict[str, str]
    scheduler: JsonValues
    noise: Literal["cpu-torch-normal-v1", "recorded", "unknown"] = NOISE_CONTRACT
    noise_scale: FiniteFloat
    compute_dtype: ComputeDtype = "float32"
    stored_dtype: StoredDtype = "float32"
    steps: tuple[Annotated[int, Field(ge=0)], ...] = Field(min_length=1)
    batch_size: int = Field(gt=0)

    @model_validator(mode="after")
    def _shape_and_steps_are_possible(self) -> Self:
        if len(self.sample_dims) != len(self.sample_shape):
            raise SpecError(
                f"`sample_dims` is {self.sample_dims}, `sample_shape` is {self.sample_shape}.",
                "Every dimension has one name and one length.",
                "Give as many names as lengths.",
            )
        if list(self.steps) != sorted(set(self.steps)):
            raise SpecError(
                f"The recorded `steps` are {self.steps}.",
                "Every step is recorded once.",
                "Give the steps in increasing order.",
            )
        return self

    @property
    def path(self) -> str:
        """Path of the run below ``/runs``: model/sampler/condition."""
        return f"{self.model}/{self.sampler}/{self.condition}"

    def identity(self) -> dict[str, Any]:
        """Return the values that determine the samples, without names and without execution."""
        return {
            "kind": self.kind,
            "sample_dims": list(self.sample_dims),
            "sample_shape": list(self.sample_shape),
            "weights": self.weights,
            "noise_schedule": self.model_spec.noise_schedule,
            "sampler": self.sampler_spec.model_dump(mode="json", exclude={"record", "scheduler"}),
            "steps": list(self.steps),
            "scheduler": self.scheduler,
            "condition": self.condition_spec.model_dump(mode="json"),
            "noise": self.noise,
            "noise_scale": self.noise_scale,
            "compute_dtype": self.compute_dtype,
            "stored_dtype": self.stored_dtype,
        }

    @property
    def fingerprint(self) -> str:
        """blake2b-128 of the identity, in hexadecimal."""
        return fingerprint(self.identity())
