"""Sweeps: one table of a study that stands for many models, of many sizes, widths and seeds."""

import itertools
from pathlib import PurePath
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from reprostore.errors import SpecError
from reprostore.recipe import VP_OBJECTIVES, RecipeSpec
from reprostore.seeds import SEED_LIMIT, check_ranges, shorten
from reprostore.specs import CLOSED_FORMS, Index, JsonValues, ModelSpec, Name, Spec, Subset
from reprostore.subsets import count, first_common, first_outside

MOST_MODELS = 10_000
"""Models that the sweeps of a study stand for: four short lists would make billions of them."""

Positive = Annotated[int, Field(gt=0)]
NotNegative = Annotated[int, Field(ge=0)]


def _checked_subset(text: str) -> str:
    check_ranges(text, "index")
    return text


Ranges = Annotated[str, AfterValidator(_checked_subset)]


class SweepSpec(Spec):
    """Models that differ in their training items, their width and their trainer seed.

    The subsets are nested, so that a model of a larger subset has seen all that one of a smaller
    has: what changes along the sweep is the number of items alone.

    Attributes
    ----------
    recipe : str
        Name of the recipe by which all models are trained.
    dataset : str
        Name of the dataset.
    sizes : tuple of int
        Increasing numbers of training items N; the subsets are the items `first` to
        `first` + N − 1.
    first : int
        `train_index` of the first item of every subset.
    subsets : tuple of str
        Ranges of `train_index`, each with all items of the one before; instead of `sizes`.
    held_out : str, optional
        Items of the dataset that no model of the sweep sees.
    widths : tuple of int, optional
        Each replaces the width of the recipe.
    trainer_seeds : tuple of int
        Seeds of the trainings.
    source : str
        Folder below which each model is trained into a folder of its name.
    training_steps : tuple of int
        Steps at which the recipe keeps checkpoints, which become models of their own.
    oracle, gaussian : bool
        Add the closed-form denoisers of every subset.
    samplers, conditions : tuple of str, optional
        Names of those that the models run with, when not all.
    """

    recipe: Name
    dataset: Name
    sizes: tuple[Positive, ...] = ()
    first: NotNegative = 0
    subsets: tuple[Ranges, ...] = ()
    held_out: Index | None = None
    widths: Annotated[tuple[Positive, ...], Field(min_length=1)] | None = None
    trainer_seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    source: str = Field(default="checkpoints", min_length=1)
    training_steps: tuple[Positive, ...] = ()
    oracle: bool = False
    gaussian: bool = False
    samplers: tuple[Name, ...] | None = None
    conditions: tuple[Name, ...] | None = None

    @field_validator("widths", "trainer_seeds", "training_steps")
    @classmethod
    def _named_once(cls, values: tuple[int, ...] | None) -> tuple[int, ...] | None:
        for value in values or ():
            if (values or ()).count(value) > 1:
                raise SpecError(
                    f"{value} stands twice.",
                    "Every value makes models of its own, and stands once.",
                    "Remove the repetition.",
                )
        return values

    @field_validator("sizes")
    @classmethod
    def _sizes_increase(cls, sizes: tuple[int, ...]) -> tuple[int, ...]:
        for before, after in itertools.pairwise(sizes):
            if after <= before:
                raise SpecError(
                    f"{after} follows {before}.",
                    "Sizes increase, so that each subset contains the one before.",
                    "Put them in order, each once.",
                )
        return sizes

    @field_validator("subsets")
    @classmethod
    def _subsets_are_nested(cls, subsets: tuple[str, ...]) -> tuple[str, ...]:
        for before, after in itertools.pairwise(subsets):
            lost = first_outside(check_ranges(before, "index"), check_ranges(after, "index"))
            if lost is not None or count(after) == count(before):
                raise SpecError(
                    f"{shorten(after)!r} "
                    + ("has no more items than" if lost is None else f"lacks item {lost} of")
                    + f" {shorten(before)!r}, which it follows.",
                    "The subsets of a sweep are nested: each has all items of the one before, and "
                    "more.",
                    "Order and extend them, or make two sweeps.",
                )
        return subsets

    @model_validator(mode="after")
    def _has_subsets(self) -> Self:
        if bool(self.sizes) == bool(self.subsets):
            raise SpecError(
                "`sizes` and `subsets` are both given."
                if self.sizes
                else "Neither `sizes` nor `subsets` has an item.",
                "One of them says on which items the models are trained.",
                "Write, for example, sizes = [16, 32, 64].",
            )
        if self.subsets and self.first:
            raise SpecError(
                "`first` stands beside `subsets`.",
                "It says where the subsets begin whose `sizes` are given.",
                "Remove `first`.",
            )
        if self.sizes and self.first + self.sizes[-1] > SEED_LIMIT:
            raise SpecError(
                f"The last item would be {self.first + self.sizes[-1] - 1}.",
                f"Items are numbered from 0 to at most {SEED_LIMIT - 1}.",
                "Correct `first` or `sizes`.",
            )
        seen = check_ranges(self.indices()[-1], "index")
        held_out = self.held_out
        unseen = () if held_out in {None, "all"} else check_ranges(str(held_out), "index")
        both = min(part.start for part in seen) if held_out == "all" else first_common(seen, unseen)
        if both is not None:
            raise SpecError(
                f"Item {both} is held out ({shorten(str(held_out))!r}) and trained on.",
                "Held-out items are items that no model of the sweep saw.",
                "Correct `held_out`, or the subsets.",
            )
        return self

    def indices(self) -> tuple[str, ...]:
        """Return the `train_index` ranges of every subset, from the smallest to the largest."""
        if self.subsets:
            return self.subsets
        last = [self.first + size - 1 for size in self.sizes]
        return tuple(f"{self.first}-{n}" if n > self.first else str(n) for n in last)

    def models(self) -> int:
        """Return for how many models the sweep stands, at most."""
        trained = len(self.widths or (0,)) * len(self.trainer_seeds)
        kept = len(self.training_steps) + 1
        return len(self.sizes or self.subsets) * (trained * kept + self.oracle + self.gaussian)


def sweep_models(name: str, sweep: SweepSpec, recipe: RecipeSpec) -> dict[str, ModelSpec]:
    """Return the models that a sweep stands for.

    Parameters
    ----------
    name : str
        Of the sweep.
    sweep : SweepSpec
        The sweep.
    recipe : RecipeSpec
        The recipe that it names.

    Returns
    -------
    dict of ModelSpec
        By name: ``NAME-wWIDTH-nITEMS-sSEED``, with ``@STEP`` for a kept checkpoint, and without
        the width where networks are fine-tuned; ``NAME-oracle-nITEMS``, ``NAME-gaussian-nITEMS``.
        All parts are always there, so that a width or a seed may be added later. The smallest
        subsets come first.
    """
    shared = sweep.model_dump(include={"held_out", "samplers", "conditions"}, exclude_unset=True)
    widths = (None,) if recipe.start_from is not None else sweep.widths or (recipe.width,)
    models: dict[str, ModelSpec] = {}
    for index in sweep.indices():
        size = count(index)
        given: dict[str, Any] = {
            "trained_on": Subset(dataset=sweep.dataset, index=index),
            **shared,
        }
        for width, seed in itertools.product(widths, sweep.trainer_seeds):
            built: dict[str, Any] = (
                {} if width is None else {"width": width, "family": recipe.architecture}
            )
            model = f"{name}-" + ("" if width is None else f"w{width}-") + f"n{size}-s{seed}"
            for step in (*sweep.training_steps, recipe.total_steps):
                kept = "" if step == recipe.total_steps else f"@{step}"
                models[model + kept] = ModelSpec(
                    source=str(PurePath(sweep.source, model + kept)),
                    recipe=sweep.recipe,
                    trainer_seed=seed,
                    training_step=step,
                    **built,
                    **given,
                )
        for source in CLOSED_FORMS:
            if getattr(sweep, source):
                schedule = {"noise_schedule": noise_schedule(recipe)}
                models[f"{name}-{source}-n{size}"] = ModelSpec(
                    source=source,
                    **given,
                    **(schedule if recipe.objective in VP_OBJECTIVES else {}),
                )
    return models


def noise_schedule(recipe: RecipeSpec) -> JsonValues:
    """Return the scheduler values under which a recipe of a discrete schedule trains.

    A closed-form denoiser with these runs under the same noise levels as the networks.
    """
    return {
        "num_train_timesteps": 1000,
        "beta_schedule": "linear",
        "beta_start": 1e-4,
        "beta_end": 0.02,
        "clip_sample": False,
        **recipe.noise_schedule,
        "prediction_type": recipe.objective,
    }
