"""Sources of imports, written by hand, and what is read back of the store."""

import numpy as np
from PIL import Image

from reprostore.importing import ImportRequest
from reprostore.store.checked import CheckedArray


def images(count, shape=(3, 6, 6), seed=0):
    """Return random 8-bit images, (count, channel, y, x)."""
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def write_png(path, image):
    """Write one image, (channel, y, x), as EDM's generate.py does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = image[0] if image.shape[0] == 1 else image.transpose(1, 2, 0)
    Image.fromarray(pixels).save(path)


def write_folder(folder, samples, *, subdirs=False):
    """Write images by seed in the naming of EDM's generate.py."""
    for seed, image in samples.items():
        parent = folder / f"{seed - seed % 1000:06d}" if subdirs else folder
        write_png(parent / f"{seed:06d}.png", image)
    return folder


def request(source, model="m", **fields):
    return ImportRequest(source=source, model=model, **fields)


def stored(store, path="m/imported/none"):
    """Return the written samples of a run by seed."""
    run = store.run(path)
    slots, seeds = run.written()
    states = CheckedArray(run, "sample")[:, 0]
    return dict(zip(seeds.tolist(), states[slots], strict=True))


def assert_stored(store, samples, path="m/imported/none"):
    found = stored(store, path)
    assert found.keys() == samples.keys()
    for seed, image in samples.items():
        np.testing.assert_array_equal(found[seed], image, strict=True)
