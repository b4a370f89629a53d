"""Datasets that other packages bring along or keep on disk."""

from pathlib import Path
from typing import Any

import numpy as np

from reprostore.datasets.items import Items
from reprostore.errors import DependencyError, NotFoundError, SpecError

TORCHVISION = ("CIFAR10", "CIFAR100", "FashionMNIST", "KMNIST", "MNIST")


def open_sklearn(dataset: str, what: str) -> Items:
    """Open scikit-learn's 1,797 handwritten digits, 8×8 pixels with values 0 to 16.

    Parameters
    ----------
    dataset : str
        "digits".
    what : str
        How messages name the source.

    Returns
    -------
    Items
        float64, (1797, 8, 8), with labels 0 to 9.

    Raises
    ------
    SpecError
        It is another dataset.
    DependencyError
        scikit-learn is not installed.
    """
    if dataset != "digits":
        raise SpecError(
            f"{what[0].upper()}{what[1:]} names the scikit-learn dataset {dataset!r}.",
            'The one image dataset that scikit-learn carries is "sklearn:digits".',
            'Write "sklearn:digits", or save the images as a .npy file.',
        )
    try:
        import sklearn
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise DependencyError(
            f"scikit-learn is not installed, and {what} is part of it.",
            "The digits come with scikit-learn.",
            "Install it with: pip install 'reprostore[examples]'",
        ) from error
    digits = load_digits()
    return Items(
        what,
        digits.images.shape,
        digits.images.dtype,
        digits.images.__getitem__,
        digits.target.astype(np.int64),
        {"kind": "sklearn", "dataset": dataset, "scikit-learn": sklearn.__version__},
        value_range=(0.0, 16.0),
    )


def open_torchvision(text: str, base: Path, what: str) -> Items:
    """Open the training split of a dataset that torchvision has downloaded before.

    The CIFAR files are pickles: torchvision compares their published MD5 before it reads them.

    Parameters
    ----------
    text : str
        Name and root folder, "NAME:ROOT".
    base : Path
        What a relative root is relative to.
    what : str
        How messages name the source.

    Returns
    -------
    Items
        uint8 images with their labels.

    Raises
    ------
    SpecError
        The dataset is not among those known, or the root is missing.
    NotFoundError
        The files are not in the root folder; nothing is downloaded.
    DependencyError
        torchvision is not installed.
    """
    dataset, _, root = text.partition(":")
    if dataset not in TORCHVISION or not root:
        raise SpecError(
            f'{what[0].upper()}{what[1:]} is written as "torchvision:{text}".',
            f'The form is "torchvision:NAME:ROOT", NAME one of {", ".join(TORCHVISION)}, ROOT the '
            "folder that torchvision downloaded it to.",
            'Write, for example, "torchvision:CIFAR10:data"; save the images of another dataset '
            "as a folder or as a .npy file.",
        )
    try:
        import torchvision
    except ImportError as error:
        raise DependencyError(
            f"torchvision is not installed, and {what} is one of its datasets.",
            "The dataset's files are read by torchvision.",
            "Install it with: pip install 'reprostore[perceptual]'",
        ) from error
    folder = base / Path(root).expanduser()
    try:
        loaded = getattr(torchvision.datasets, dataset)(folder, train=True, download=False)
    except (RuntimeError, OSError) as error:
        raise NotFoundError(
            f"{what[0].upper()}{what[1:]} is not in {folder}, or its files are damaged.",
            "The folder holds the files as torchvision downloads them.",
            f'Download them with: python -c "from torchvision.datasets import {dataset}; '
            f'{dataset}({str(folder)!r}, download=True)"',
        ) from error
    images: Any = np.asarray(loaded.data)
    return Items(
        what,
        images.shape,
        images.dtype,
        images.__getitem__,
        np.asarray(loaded.targets, dtype=np.int64),
        {"kind": "torchvision", "dataset": dataset, "torchvision": torchvision.__version__},
    )
