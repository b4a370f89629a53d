"""Write the digits as a folder of PNG files, as an auditor would be given it."""

from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from reprostore.datasets.sources import permutation


def main() -> None:
    """Write images/0000.png … images/1796.png, in the order in which the models count them."""
    folder = Path(__file__).parent / "images"
    folder.mkdir(exist_ok=True)
    pixels = np.rint(load_digits().images * (255 / 16)).astype(np.uint8)
    order = permutation(len(pixels), 0)  # `shuffle = 0` of the digits study
    for number, item in enumerate(order):
        Image.fromarray(pixels[item]).save(folder / f"{number:04d}.png")
    print(f"{len(pixels)} images in {folder}")


if __name__ == "__main__":
    main()
