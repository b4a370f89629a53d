"""The networks of LPIPS as a table: file, layers that are compared, length of a vector.

No torch needed, so that what vectors would take is known before anything is loaded.
"""

from dataclasses import dataclass

from reprostore.errors import SpecError

VECTOR_BUDGET = 4 * 2**30
"""Bytes of LPIPS vectors that are still sensible to keep; beyond it, pairs are streamed."""


@dataclass(frozen=True)
class Window:
    """A convolution or pooling that changes the size of an image."""

    kernel: int
    stride: int
    padding: int = 0
    ceil: bool = False

    def size(self, length: int) -> int:
        """Return the length of one axis after it; below 1 where the window does not fit."""
        free = length + 2 * self.padding - self.kernel
        return (-(-free // self.stride) if self.ceil else free // self.stride) + 1


@dataclass(frozen=True)
class Layer:
    """A layer of which the outputs are compared.

    Attributes
    ----------
    stop : int
        It is the output of the first `stop` modules of torchvision's `features`.
    channels : int
        Its channels, all of which take part in the normalization.
    used : int
        How many of them have a weight above 0 in LPIPS v0.1: the others add nothing.
    windows : tuple of Window
        What changes the size since the layer before.
    """

    stop: int
    channels: int
    used: int
    windows: tuple[Window, ...] = ()


@dataclass(frozen=True)
class Net:
    """One of the networks.

    Attributes
    ----------
    architecture : str
        Function of `torchvision.models` that builds it.
    url : str
        Where torchvision takes its ImageNet weights from; the last part of the name is the
        beginning of the file's sha256.
    smallest : int
        The least height and width of an image.
    layers : tuple of Layer
        In order.
    """

    architecture: str
    url: str
    smallest: int
    layers: tuple[Layer, ...]

    @property
    def file(self) -> str:
        """Name of the file with torchvision's weights."""
        return self.url.rpartition("/")[2]


_POOL_3, _POOL_3_CEIL, _POOL_2 = Window(3, 2), Window(3, 2, ceil=True), Window(2, 2)
_URL = "https://download.pytorch.org/models"

NETS = {
    "alex": Net(
        "alexnet",
        f"{_URL}/alexnet-owt-7be5be79.pth",
        31,
        (
            Layer(2, 64, 29, (Window(11, 4, 2),)),
            Layer(5, 192, 137, (_POOL_3,)),
            Layer(8, 384, 347, (_POOL_3,)),
            Layer(10, 256, 238),
            Layer(12, 256, 251),
        ),
    ),
    "vgg": Net(
        "vgg16",
        f"{_URL}/vgg16-397923af.pth",
        16,
        (
            Layer(4, 64, 64),
            Layer(9, 128, 128, (_POOL_2,)),
            Layer(16, 256, 256, (_POOL_2,)),
            Layer(23, 512, 512, (_POOL_2,)),
            Layer(30, 512, 512, (_POOL_2,)),
        ),
    ),
    "squeeze": Net(
        "squeezenet1_1",
        f"{_URL}/squeezenet1_1-b8a52dc0.pth",
        17,
        (
            Layer(2, 64, 51, (Window(3, 2),)),
            Layer(5, 128, 101, (_POOL_3_CEIL,)),
            Layer(8, 256, 238, (_POOL_3_CEIL,)),
            Layer(10, 384, 374, (_POOL_3_CEIL,)),
            Layer(11, 384, 367),
            Layer(12, 512, 490),
            Layer(13, 512, 500),
        ),
    ),
}
"""richzhang/PerceptualSimilarity, lpips/pretrained_networks.py: where the layers are cut."""


def lpips_net(name: str) -> Net:
    """Return a network by its name.

    Raises
    ------
    SpecError
        There is no such network.
    """
    if name not in NETS:
        raise SpecError(
            f"{name!r} is no network of LPIPS.",
            f"The networks are {', '.join(repr(known) for known in NETS)}.",
            'Set net = "alex", which LPIPS is usually reported with.',
        )
    return NETS[name]


def lpips_dimension(net: str, item_shape: tuple[int, ...]) -> int:
    """Compute the length of an LPIPS vector, without torch.

    Parameters
    ----------
    net : {"alex", "vgg", "squeeze"}
        The network.
    item_shape : tuple of int
        (channel, y, x); 1 or 3 channels.

    Returns
    -------
    int
        Channels that have a weight, times places, over all layers. At 32, 64 and 128 pixels
        alex has 3,490, 20,762 and 99,658; vgg 124,928, 499,712 and 1,998,848; squeeze 20,297,
        98,977 and 437,849.

    Raises
    ------
    SpecError
        There is no such network, the items are no images, or they are too small for it.
    """
    network = lpips_net(net)
    if len(item_shape) != 3 or item_shape[0] not in {1, 3}:
        raise SpecError(
            f"LPIPS cannot compare items of the shape {item_shape}.",
            "It compares images, (channel, y, x), of 1 or 3 channels.",
            "Use another encoder for them.",
        )
    if min(item_shape[1:]) < network.smallest:
        fitting = [name for name, other in NETS.items() if other.smallest <= min(item_shape[1:])]
        raise SpecError(
            f"Images of {item_shape[1]} × {item_shape[2]} pixels are too small for LPIPS with "
            f'net = "{net}".',
            f"Its layers need at least {network.smallest} × {network.smallest} pixels.",
            f"Set net = {' or '.join(repr(name) for name in fitting)}, and report it so."
            if fitting
            else "Use another encoder; enlarged images have other distances than LPIPS's own.",
        )
    total, (height, width) = 0, item_shape[1:]
    for layer in network.layers:
        for window in layer.windows:
            height, width = window.size(height), window.size(width)
        total += layer.used * height * width
    return total


def lpips_fits(
    net: str, item_shape: tuple[int, ...], count: int, budget: int = VECTOR_BUDGET
) -> bool:
    """Say whether the LPIPS vectors of some images are small enough to keep.

    Parameters
    ----------
    net : {"alex", "vgg", "squeeze"}
        The network.
    item_shape : tuple of int
        (channel, y, x).
    count : int
        Number of images.
    budget : int
        Bytes that their vectors may take; 4 GiB when not given.

    Returns
    -------
    bool
        Whether count × dimension × 4 bytes are at most the budget. Where they are not, pairs of
        images are compared one by one: `reprostore.encoders.lpips_pairs`.

    Raises
    ------
    SpecError
        As in `lpips_dimension`.
    """
    return count * lpips_dimension(net, item_shape) * 4 <= budget
