"""What a store says of a dataset, with the dataset's name, under a checksum."""

from collections.abc import Mapping
from typing import Any

from reprostore.canonical import fingerprint


def sealed(name: str, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes of a dataset's group with its name and a checksum over all of them.

    Parameters
    ----------
    name : str
        Of the dataset, in the store where they are to be.
    attributes : mapping
        `dataset`, and what says of withheld items what they were; sealed ones are sealed anew.
    """
    content = {key: value for key, value in attributes.items() if key != "checksum"}
    content["name"] = name
    return {**content, "checksum": fingerprint(content)}


def unsealed(name: str, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes without name and checksum, which earlier datasets do not have.

    Raises
    ------
    ValueError
        They were changed, or are those of another dataset.
    KeyError, TypeError
        They are not those of a dataset.
    """
    content = dict(attributes)
    checksum = content.pop("checksum", None)
    if not isinstance(content["dataset"], dict):
        raise TypeError("`dataset` is no object")
    sound = checksum in (None, fingerprint(content))
    named = content.pop("name", None)
    if not sound or (checksum is None) != (named is None):
        raise ValueError("they do not agree with their checksum")
    if named not in (None, name):
        raise ValueError(f"they are those of the dataset {named}")
    return {**content, "dataset": dict(content["dataset"])}
