"""Canonical JSON and the fingerprints made from it."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any


def to_jsonable(value: Any) -> Any:  # noqa: ANN401
    """Turn a value into plain JSON types; infinities and NaN become strings.

    Attributes of a Zarr group cannot hold NaN or infinity, and scheduler configs contain them
    (``lambda_min_clipped = -inf``).
    """
    if isinstance(value, Mapping):
        return {str(key): to_jsonable(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted((to_jsonable(item) for item in value), key=canonical_json)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [to_jsonable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if hasattr(value, "tolist"):
        return to_jsonable(value.tolist())
    return str(value)


def canonical_json(value: Any) -> str:  # noqa: ANN401
    """Return JSON with sorted keys and no white space, the form that is hashed.

    Whole numbers are written as integers, since 7 and 7.0 are one value.
    """
    return json.dumps(
        _whole(to_jsonable(value)), sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )


def _whole(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def fingerprint(value: Any) -> str:  # noqa: ANN401
    """Return blake2b-128 of the canonical JSON of `value`, 32 hexadecimal digits."""
    return hashlib.blake2b(canonical_json(value).encode(), digest_size=16).hexdigest()
