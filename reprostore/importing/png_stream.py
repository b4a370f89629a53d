"""Whether a PNG file holds all of its pixels: decoders fill up what is missing with black."""

import struct
import zlib
from collections.abc import Iterator
from typing import Final

_SIGNATURE: Final = 8

_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Of each colour type."""

_WHOLE: Final = ((0, 0, 1, 1),)
_ADAM7: Final = (
    (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)
)  # fmt: skip
"""First column and row of each pass, and the steps between columns and between rows."""

_LAST_FILTER: Final = 4

_BLOCK: Final = 2**16


def require_whole_stream(content: bytes) -> None:
    """Refuse a PNG file whose compressed stream is not exactly its rows.

    Parameters
    ----------
    content : bytes
        The file, whose chunks agree with their checksums.

    Raises
    ------
    ValueError
        The stream ends early, holds fewer or more bytes than rows × (1 + bytes of a row), or a row
        has an unknown filter; the last is not looked for in interlaced files.
    zlib.error, struct.error
        It is damaged.

    References
    ----------
    Portable Network Graphics (PNG) Specification, 3rd edition, sections 7.2, 8.1 and 11.2.1.
    """
    header = content[_SIGNATURE + 8 : _SIGNATURE + 8 + 13]
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    bits, expected = depth * _CHANNELS[colour], 0
    for left, top, across, down in _ADAM7 if interlaced else _WHOLE:
        columns, rows = -((left - width) // across), -((top - height) // down)
        if columns > 0 and rows > 0:
            expected += rows * (1 + (columns * bits + 7) // 8)
    stream, found, row = zlib.decompressobj(), 0, 1 + (width * bits + 7) // 8
    for block in _inflated(content, stream):
        if not interlaced and max(block[-found % row :: row], default=0) > _LAST_FILTER:
            raise ValueError("a row of its pixels has no known filter")
        found += len(block)
        if found > expected:
            break
    if found != expected:
        raise ValueError(
            f"its pixels are {expected} bytes, and it holds {found if found < expected else 'more'}"
        )
    if not stream.eof:
        raise ValueError("its pixels are not complete")


def _inflated(content: bytes, stream: "zlib._Decompress") -> Iterator[bytes]:
    for part in _data(content):
        rest = part
        while rest and not stream.eof:
            yield stream.decompress(rest, _BLOCK)
            rest = stream.unconsumed_tail
    while not stream.eof and (block := stream.decompress(b"", _BLOCK)):
        yield block


def _data(content: bytes) -> Iterator[bytes]:
    """Yield the data of the IDAT chunks."""
    at = _SIGNATURE
    while at + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        if kind == b"IEND":
            return
        if kind == b"IDAT":
            yield content[at + 8 : at + 8 + length]
        at += 12 + length
