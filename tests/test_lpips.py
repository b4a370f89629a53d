"""LPIPS as vectors and pair by pair, against the forward pass of the package lpips."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lpips")
torch = pytest.importorskip("torch")

from lpips_files import (  # noqa: E402
    features,
    images,
    package,
    package_distances,
    random_state,
    save,
)

from reprostore.encoders.lpips import LpipsEncoder  # noqa: E402
from reprostore.encoders.lpips_nets import NETS  # noqa: E402
from reprostore.encoders.lpips_pairs import lpips_pairs  # noqa: E402
from reprostore.errors import DatasetError, ModelError  # noqa: E402
from reprostore.search import knn  # noqa: E402


@pytest.fixture(scope="module")
def states():
    return {net: random_state(net) for net in NETS}


@pytest.fixture(scope="module")
def files(states, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lpips")
    return {net: save(folder / f"{net}.pth", state) for net, state in states.items()}


def distances(encoder, a, b):
    left, right = (encoder.encode(part).astype(np.float64) for part in (a, b))
    return ((left - right) ** 2).sum(axis=1)


def pairs(shape):
    """A pair that is far apart, and one that differs by faint noise."""
    a, b = images(2, shape), images(2, shape, seed=1)
    b[1] = np.clip(a[1] + np.random.default_rng(2).normal(0, 4, shape), 0, 255)
    return a, b


@pytest.mark.parametrize("shape", [(3, 32, 32), (3, 64, 64), (3, 128, 128), (1, 32, 49)])
@pytest.mark.parametrize("net", NETS)
def test_the_squared_distance_is_that_of_the_package(net, shape, states, files, monkeypatch):
    a, b = pairs(shape)
    encoder = LpipsEncoder(shape, net, files[net], batch_size=2)
    expected = package_distances(package(net, states[net], monkeypatch), a, b)
    found = distances(encoder, a, b)
    assert found[0] > 0.05
    assert 0 < found[1] < found[0]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(lpips_pairs(encoder, [a], [b]), expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_trained_weights(net, tmp_path, monkeypatch):
    """Filters trained for shift-tolerant LPIPS, in the plain network.

    They are no ImageNet weights: the values are not those of published LPIPS, but the statistics
    of the activations (sparse, of unequal channels) are those of trained networks.
    """
    found = find_spec("stlpips_pytorch")
    if found is None:
        pytest.skip("stlpips_pytorch, which carries the weights, is not installed")
    path = Path(found.origin).parent / "weights" / "vST0.0" / f"{net}_shift_tolerant.pth"
    trained = torch.load(path, map_location="cpu", weights_only=True)
    filters = [
        value
        for name, value in trained.items()
        if name.startswith("net.") and not name.endswith(".filt")
    ]
    state = dict(zip(features(net).state_dict(), filters, strict=True))
    a, b = pairs((3, 64, 64))
    encoder = LpipsEncoder((3, 64, 64), net, save(tmp_path / "trained.pth", state), batch_size=2)
    expected = package_distances(package(net, state, monkeypatch), a, b)
    np.testing.assert_allclose(distances(encoder, a, b), expected, rtol=1e-5, atol=1e-8)
    assert expected[1] < expected[0]


def test_nearest_neighbors_are_those_of_all_forward_passes(states, files, monkeypatch):
    shape = (3, 32, 32)
    queries, corpus = images(5, shape), images(9, shape, seed=1)
    corpus[4] = queries[2]
    encoder = LpipsEncoder(shape, "squeeze", files["squeeze"], batch_size=4)
    model = package("squeeze", states["squeeze"], monkeypatch)
    every = np.stack(
        [package_distances(model, query[None].repeat(9, 0), corpus) for query in queries]
    )
    found = knn(encoder.encode(queries), encoder.encode(corpus), 2, encoder.metric)
    np.testing.assert_array_equal(found.index, np.argsort(every, axis=1)[:, :2])
    np.testing.assert_allclose(found.values, np.sort(every, axis=1)[:, :2], rtol=1e-5, atol=1e-8)
    assert (found.index[2, 0], found.values[2, 0]) == (4, 0.0)


def test_an_image_has_the_same_vector_in_any_company(files):
    batch = images(5, (3, 32, 32))
    encoder = LpipsEncoder((3, 32, 32), "alex", files["alex"], batch_size=3)
    whole = encoder.encode(batch)
    assert whole.dtype == np.float32
    np.testing.assert_array_equal(encoder.encode(batch[4:]), whole[4:])
    assert encoder.encode(batch[:0]).shape == (0, encoder.dimension)


def test_grey_images_are_repeated_to_three_channels(files):
    grey = images(2, (1, 32, 32))
    found = LpipsEncoder((1, 32, 32), "alex", files["alex"], 2).encode(grey)
    colored = LpipsEncoder((3, 32, 32), "alex", files["alex"], 2).encode(grey.repeat(3, 1))
    np.testing.assert_array_equal(found, colored)


def test_black_and_white_have_a_distance_and_equal_images_none(files):
    flat = np.zeros((2, 3, 32, 32), np.uint8)
    flat[1] = 255
    encoder = LpipsEncoder((3, 32, 32), "vgg", files["vgg"], 2)
    assert lpips_pairs(encoder, [flat], [flat[::-1]]) == pytest.approx(
        distances(encoder, flat, flat[::-1]), rel=1e-5
    )
    np.testing.assert_array_equal(lpips_pairs(encoder, [flat], [flat]), 0)


def test_pairs_do_not_depend_on_batches(files):
    a, b = images(7, (3, 32, 32)), images(7, (3, 32, 32), seed=1)
    encoder = LpipsEncoder((3, 32, 32), "alex", files["alex"], batch_size=2)
    whole = lpips_pairs(encoder, [a], [b])
    cut = [slice(0, 3), slice(3, 3), slice(3, 7)]
    found = lpips_pairs(encoder, (a[rows] for rows in cut), (b[rows] for rows in cut))
    np.testing.assert_array_equal(found, whole)
    np.testing.assert_array_equal(lpips_pairs(encoder, [b], [a]), whole)
    assert lpips_pairs(encoder, [], []).shape == (0,)


@pytest.mark.parametrize("counts", [((3,), (2,)), ((2, 1), (2,))])
def test_sequences_of_unequal_length_are_refused(files, counts):
    encoder = LpipsEncoder((3, 32, 32), "alex", files["alex"], batch_size=4)
    a, b = ([images(count, (3, 32, 32)) for count in side] for side in counts)
    with pytest.raises(DatasetError, match="pairs there are batches of"):
        lpips_pairs(encoder, a, b)


def test_other_types_and_shapes_are_refused(files):
    encoder = LpipsEncoder((3, 32, 32), "alex", files["alex"])
    good = images(1, (3, 32, 32))
    for call in (encoder.encode, lambda part: lpips_pairs(encoder, [good], [part])):
        with pytest.raises(TypeError, match="uint8"):
            call(good.astype(np.float32))
        with pytest.raises(ValueError, match=r"\(3, 32, 40\)"):
            call(images(1, (3, 32, 40)))


def test_values_that_overflow_are_refused(states, tmp_path):
    huge = {name: value * 1e12 for name, value in states["alex"].items()}
    encoder = LpipsEncoder((3, 32, 32), "alex", save(tmp_path / "huge.pth", huge), 1)
    with pytest.raises(ModelError, match="not finite"):
        encoder.encode(images(1, (3, 32, 32)))


def test_the_network_computes_in_full_precision(files):
    switch = getattr(torch.backends.cudnn, "conv", None)
    if not hasattr(switch, "fp32_precision"):
        pytest.skip("this torch has other switches")
    encoder, seen = LpipsEncoder((3, 32, 32), "alex", files["alex"], 1), []
    encoder._features[0].register_forward_pre_hook(lambda *_: seen.append(switch.fp32_precision))
    before = switch.fp32_precision
    try:
        switch.fp32_precision = "tf32"
        encoder.encode(images(1, (3, 32, 32)))
        assert (seen, switch.fp32_precision) == (["ieee"], "tf32")
    finally:
        switch.fp32_precision = before
