"""A study whose samples are generated, and generated anew."""

import shutil

import numpy as np
from generating import FINAL, PATH, study

from reprostore.sharing.regeneration.floor import FLOOR
from reprostore.sharing.regeneration.portion import Portion, Regeneration
from reprostore.sharing.regeneration.regenerate import regenerate
from reprostore.store import open_store
from reprostore.studies import generate_study
from reprostore.testing.models import tiny_checkpoint

SAMPLERS = {"final": FINAL, "path": PATH}


def generated(base):
    """Return a study whose samples are generated; tests that write take a copy of its folder."""
    tiny_checkpoint(base / "net")
    loaded = study(base, samplers=SAMPLERS)
    generate_study(loaded)
    return loaded


def copied(loaded, base):
    shutil.copytree(loaded.base, base)
    return study(base, samplers=SAMPLERS)


def again(loaded, portion="100%", mode="r+", **options):
    store = open_store(loaded.store_path, mode=mode)
    return regenerate(store, loaded, Regeneration(Portion.parse(portion), **options))


def of(done, path):
    (floor,) = (floor for floor in done.floors if floor.attrs["run"] == path)
    return floor


def results(loaded):
    return sorted(path.name for path in (loaded.store_path / "results" / FLOOR).glob("*/"))


def pixel_vectors(states):
    """Return mean-removed 8-bit images, as a PNG would hold them."""
    grey = np.rint(np.clip((states.astype(np.float32) + 1) * 127.5, 0, 255)).astype(np.float64)
    grey = grey.reshape(len(grey), -1)
    return grey, grey - grey.mean(axis=1, keepdims=True)
