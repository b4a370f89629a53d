"""Lengths of LPIPS vectors and the smallest images, against the networks themselves."""

import pytest

pytest.importorskip("lpips")
torch = pytest.importorskip("torch")

from lpips_files import features  # noqa: E402

from reprostore.encoders.lpips_loading import load_linear_weights  # noqa: E402
from reprostore.encoders.lpips_nets import NETS, lpips_dimension, lpips_fits  # noqa: E402
from reprostore.errors import SpecError  # noqa: E402


def counted(net, height, width):
    """Length of a vector by running torchvision's network on shapes alone."""
    values, start, total = torch.empty(1, 3, height, width, device="meta"), 0, 0
    layers = features(net)
    for layer, weights in zip(NETS[net].layers, load_linear_weights(net), strict=True):
        values = layers[start : layer.stop](values)
        start = layer.stop
        total += int((weights > 0).sum()) * values.shape[2] * values.shape[3]
    return total


@pytest.mark.parametrize("net", NETS)
def test_the_length_is_that_of_the_network(net):
    sizes = [(size, size) for size in (*range(31, 70), 128, 256)] + [(33, 91), (200, 47)]
    for height, width in sizes:
        assert lpips_dimension(net, (3, height, width)) == counted(net, height, width)
    assert lpips_dimension(net, (1, 32, 32)) == lpips_dimension(net, (3, 32, 32))


def test_lengths_worked_out_by_hand():
    # 32 pixels through alex: 7, then 3, then 1 a side; through vgg: halved four times.
    assert lpips_dimension("alex", (3, 32, 32)) == 29 * 49 + 137 * 9 + 347 + 238 + 251 == 3490
    by_hand = 64 * 1024 + 128 * 256 + 256 * 64 + 512 * 16 + 512 * 4
    assert lpips_dimension("vgg", (3, 32, 32)) == by_hand == 124_928


@pytest.mark.parametrize("net", NETS)
def test_the_smallest_images(net):
    least = NETS[net].smallest
    for shape in [(least, least), (least, least + 20)]:
        assert lpips_dimension(net, (3, *shape)) == counted(net, *shape)
    for shape in [(least - 1, 64), (64, least - 1)]:
        with pytest.raises(RuntimeError):
            counted(net, *shape)
        with pytest.raises(SpecError, match=f"at least {least} × {least}"):
            lpips_dimension(net, (3, *shape))


def test_small_images_are_told_what_suits_them():
    with pytest.raises(SpecError, match="'vgg' or 'squeeze'"):
        lpips_dimension("alex", (1, 28, 28))
    with pytest.raises(SpecError, match="another encoder"):
        lpips_dimension("alex", (1, 8, 8))


@pytest.mark.parametrize("shape", [(32, 32), (4, 32, 32), (3, 32, 32, 1)])
def test_what_is_no_image_is_refused(shape):
    with pytest.raises(SpecError, match="cannot compare items of the shape"):
        lpips_dimension("alex", shape)


def test_what_fits_a_budget():
    assert lpips_fits("alex", (3, 32, 32), 300_000)
    assert not lpips_fits("alex", (3, 32, 32), 310_000)
    assert lpips_fits("alex", (3, 32, 32), 10, budget=10 * 3490 * 4)
    assert not lpips_fits("alex", (3, 32, 32), 10, budget=10 * 3490 * 4 - 1)
