"""PNG files whose chunks are whole, and whose pixels are not: decoders make black of the rest."""

import io
import itertools
import struct
import zlib

import numpy as np
import pytest
from importing import assert_stored, images, request
from PIL import Image

from reprostore.errors import DatasetError
from reprostore.importing import import_samples, png_stream
from reprostore.store import create_store

ROW = b"\0" + bytes(range(100, 124))


def chunk(kind, data):
    checksum = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + checksum


def png(*data, size=(8, 8), depth=8, colour=2, interlaced=0):
    """Return a file of right checksums around any compressed stream, in parts."""
    header = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, interlaced)
    parts = [chunk(b"IHDR", header), *(chunk(b"IDAT", each) for each in data), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


WHOLE = zlib.compress(ROW * 8)


@pytest.fixture
def store(tmp_path):
    return create_store(tmp_path / "s.zarr")


def imported(store, tmp_path, content):
    (tmp_path / "out").mkdir(exist_ok=True)
    (tmp_path / "out" / "000007.png").write_bytes(content)
    return import_samples(store, request(tmp_path / "out"))


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (zlib.compress(ROW * 4), "200 bytes, and it holds 100"),
        (zlib.compress(ROW * 8 + b"\0"), "200 bytes, and it holds more"),
        (zlib.compress(b""), "it holds 0"),
        (b"", "it holds 0"),
        (WHOLE[:-2], "are not complete"),
        (WHOLE[:-4] + b"sums", "incorrect data check"),
        (zlib.compress(ROW * 3 + b"\x05" + ROW * 5)[:-1], "no known filter"),
    ],
)
def test_pixels_that_are_not_those_of_the_header_are_refused(store, tmp_path, stream, message):
    with pytest.raises(DatasetError, match=rf"000007\.png .* cannot be read: .*{message}"):
        imported(store, tmp_path, png(stream))
    assert store.run_paths() == []


@pytest.mark.parametrize("parts", [[WHOLE], [WHOLE[:3], b"", WHOLE[3:]], [WHOLE + b"rest"]])
@pytest.mark.parametrize("block", [1, 7, 2**16])
def test_a_whole_stream_in_any_parts_is_read(store, tmp_path, parts, block, monkeypatch):
    monkeypatch.setattr(png_stream, "_BLOCK", block)
    imported(store, tmp_path, png(*parts))
    row = np.arange(100, 124, dtype=np.uint8).reshape(8, 3).T
    assert_stored(store, {7: np.repeat(row[:, None], 8, axis=1)})


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_files_of_pillow_of_all_small_sizes_are_whole(mode):
    for width, height in itertools.product(range(1, 10), repeat=2):
        file = io.BytesIO()
        pixels = images(1, (height, width, 3))[0]
        Image.fromarray(pixels if mode == "RGB" else pixels[..., 0]).save(file, "png")
        png_stream.require_whole_stream(file.getvalue())


def passes(width, height):
    """Return the size of every pass of Adam7 from the specification's picture of 8×8 pixels."""
    picture = ["16462646", "77777777", "56565656", "77777777",
               "36463646", "77777777", "56565656", "77777777"]  # fmt: skip
    found = []
    for number in "1234567":
        rows = [sum(picture[y % 8][x % 8] == number for x in range(width)) for y in range(height)]
        found.append((max(rows), sum(row > 0 for row in rows)))
    return found


@pytest.mark.parametrize(("depth", "colour", "bits"), [(8, 2, 24), (8, 0, 8), (1, 0, 1)])
def test_interlaced_files_hold_seven_passes(depth, colour, bits):
    for size in [(1, 1), (5, 3), (8, 8), (9, 17), (2, 11)]:
        length = sum(
            rows * (1 + -(-columns * bits // 8)) for columns, rows in passes(*size) if columns
        )
        kind = {"size": size, "depth": depth, "colour": colour, "interlaced": 1}
        png_stream.require_whole_stream(png(zlib.compress(bytes(length)), **kind))
        for other in (length - 1, length + 1):
            with pytest.raises(ValueError, match=f"its pixels are {length} bytes"):
                png_stream.require_whole_stream(png(zlib.compress(bytes(other)), **kind))
