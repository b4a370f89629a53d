"""What determines a trained model, and whether a folder holds that one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reprostore.canonical import to_jsonable
from reprostore.errors import IdentityError
from reprostore.models import weight_digests
from reprostore.recipe import RecipeSpec
from reprostore.specs import ModelSpec
from reprostore.store.identity import first_difference
from reprostore.training.record import said_of, unreadable


def training_identity(
    recipe: RecipeSpec, trained_on: Mapping[str, Any], trainer_seed: int, base: Path
) -> dict[str, Any]:
    """Return all that determines a trained model, as JSON.

    Of the checkpoint that a fine-tuning starts from this is the sha256 of its files, so that it
    may be moved.
    """
    start = recipe.start_from
    identity: dict[str, Any] = to_jsonable(
        {
            "recipe": recipe.model_dump(mode="json", exclude={"start_from"}),
            "start_from": start and weight_digests(ModelSpec(source=start), base),
            "trained_on": dict(trained_on),
            "trainer_seed": trainer_seed,
        }
    )
    return identity


def identity_there(
    folder: Path,
    recipe: RecipeSpec,
    trained_on: Mapping[str, Any],
    trainer_seed: int,
    base: Path,
) -> dict[str, Any]:
    """Return the identity that is asked for, to be compared with that of a folder.

    A finished model may be handed on without the checkpoint that it started from: if that has the
    name that the folder records, its digests are those that the folder records.
    """
    start, record = recipe.start_from, said_of(folder)
    if start is not None and record.get("start_from") == start:
        stored = record.get("identity")
        digests = stored.get("start_from") if isinstance(stored, dict) else None
        if digests is not None and not (base / Path(start).expanduser()).is_dir():
            alone = recipe.model_copy(update={"start_from": None})
            identity = training_identity(alone, trained_on, trainer_seed, base)
            return {**identity, "start_from": digests}
    return training_identity(recipe, trained_on, trainer_seed, base)


def check_identity(stored: Any, identity: Mapping[str, Any], folder: Path) -> None:  # noqa: ANN401
    """Compare the identity that a folder records with that of the training asked for.

    Raises
    ------
    IdentityError
        They differ; both values of the first difference are shown.
    """
    if isinstance(stored, dict) and isinstance(stored.get("recipe"), dict):
        # A key that recipes did not have at that time had the effect of its default.
        stored = {**stored, "recipe": {**_default_recipe(), **stored["recipe"]}}
    if not isinstance(stored, dict) or stored.keys() != identity.keys():
        raise unreadable(folder, "no identity of a training is recorded there")
    if stored != identity:
        difference = first_difference(stored, dict(identity)).replace("in the store", "there")
        raise IdentityError(
            f"{folder} holds another training than the one asked for: {difference}.",
            "A training is continued, and a trained model used, by the recipe, the items and the "
            "seed that it was begun with.",
            "Restore these, give the model another source, or move that folder away to train anew.",
        )


def _default_recipe() -> dict[str, Any]:
    recipe = RecipeSpec(steps=1).model_dump(mode="json", exclude={"start_from", "steps"})
    defaults: dict[str, Any] = to_jsonable(recipe)
    return defaults


def check_items_digest(record: Mapping[str, Any], items: str, folder: Path) -> None:
    """Compare the items that a training was begun on with those that it is given now.

    What items are called is part of the identity; this is what they are.

    Raises
    ------
    IdentityError
        They differ. Older records, without a digest, say nothing.
    """
    if record.get("items_sha256", items) != items:
        raise IdentityError(
            f"{folder} holds a training on other items than those that were given, by the same "
            "name.",
            "A training is continued, and a trained model used, with the items that it was begun "
            "with.",
            "Give the same items, or another name to these and another folder to the model.",
        )
