"""A laboratory's store of two models, with an encoder of its own and what was made with it."""

import zipfile
from pathlib import Path

import numpy as np
from analyzing import add_dataset, add_run, pictures, subset

from reprostore.sharing.pack import pack_store
from reprostore.sharing.packing.request import PackRequest
from reprostore.specs import EncoderSpec
from reprostore.store import create_store
from reprostore_analyses.context import Context
from reprostore_analyses.generalization import GeneralizationOptions, generalization
from reprostore_analyses.reproducibility import reproducibility
from reprostore_analyses.reproducibility_options import ReproducibilityOptions

SHAPE = (1, 6, 6)
RUNS = ["a/s/none", "b/s/none"]

FACTORY = """\
import numpy as np


class Blocks:
    batch_size, metric, identity = 4, "cosine", {}

    def encode(self, images):
        count = len(images)
        means = images.reshape(count, 2, 3, 2, 3).mean((2, 4)).reshape(count, 4) - 127.5
        return np.concatenate([means, means**2 / 100], axis=1).astype(np.float32)


def blocks(device):
    return Blocks()
"""
"""Eight numbers of an image of 36 values."""

OPTIONS = {
    reproducibility: ReproducibilityOptions(encoder="blocks", threshold=0.5),
    generalization: GeneralizationOptions(encoder="blocks", threshold=0.9),
}


def laboratory(folder: Path):
    """Make a store of two models that were trained on halves of one dataset."""
    store = create_store(folder / "lab.zarr", title="Two models", license="CC-BY-4.0",
                         creators=["Ada Lovelace"])  # fmt: skip
    items = pictures(30, seed=1, shape=SHAPE)
    add_dataset(store, folder / "data", items, held_out="20-29")
    shared = pictures(13, seed=2, shape=SHAPE)
    for number, model in enumerate("ab"):
        own = pictures(13, seed=3 + number, shape=SHAPE)
        images = [items[10 * number + i] if i < 3 else shared[i] if i < 9 else own[i]
                  for i in range(13)]  # fmt: skip
        add_run(store, model, dict(enumerate(images)), batch_size=4,
                trained_on=subset(f"{10 * number}-{10 * number + 9}"),
                session={"versions": {"torch": "2.4.0"}, "host": "lab-7"})  # fmt: skip
    (folder / "encoders.py").write_text(FACTORY)
    return store


def analyzed(store, folder):
    """Compute two analyses with an encoder that a study defines."""
    encoders = {"blocks": EncoderSpec(kind="python", factory="encoders:blocks")}
    context = Context(store, base=folder, encoders=encoders)
    return {function: function(context, options) for function, options in OPTIONS.items()}


def answers(store):
    """Compute the same from what a store holds alone."""
    context = Context(store)
    return {function: function(context, options) for function, options in OPTIONS.items()}


def pack(store, target, **options):
    return pack_store(store, target, PackRequest(**options))


def names(archive):
    with zipfile.ZipFile(archive) as opened:
        return opened.namelist()


def same(a, b):
    """Say whether two arrays are equal, bit for bit."""
    a, b = np.asarray(a), np.asarray(b)
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
