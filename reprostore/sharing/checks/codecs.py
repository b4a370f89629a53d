"""The codecs of an array, as its metadata name them."""

from collections.abc import Container
from typing import Any

from reprostore.sharing.checks.findings import Damage

_CODECS: dict[str, dict[str, tuple[type, Container[object]]]] = {
    "bytes": {"endian": (str, ("little",))},
    "zstd": {"level": (int, range(-(2**17), 23)), "checksum": (bool, (True, False))},
    "crc32c": {},
}
"""What settings codecs have, and what these may be."""


def check_codecs(codecs: list[Any], expected: list[str], of: str, itemsize: int) -> None:
    """Refuse other codecs, and settings of these under which zarr reads other numbers or none.

    Parameters
    ----------
    codecs : list
        As in a zarr.json.
    expected : list of str
        Their names.
    of : str
        What they encode, for the message.
    itemsize : int
        Bytes of one value.

    Raises
    ------
    Damage
        They are others.
    """
    names = [codec["name"] for codec in codecs]
    if names != expected:
        found = ", ".join(map(str, names))[:60]
        raise Damage(f"has {of}the codecs {found}, not {', '.join(expected)}")
    for codec in codecs:
        known, settings = _CODECS[codec["name"]], codec.get("configuration", {})
        # Single bytes have no order, and zarr writes none.
        ordered = codec["name"] != "bytes" or itemsize > 1 or settings != {}
        if codec.keys() - {"name", "configuration"} or (
            ordered and settings.keys() != known.keys()
        ):
            raise Damage(f"has {of}the codec {codec['name']} with other settings than its own")
        for name, value in settings.items():
            kind, values = known[name]
            if type(value) is not kind or value not in values:
                raise Damage(f"has {of}the codec {codec['name']} with another setting of {name}")
