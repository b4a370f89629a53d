"""Where torch computes, and that it does so in full precision."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from reprostore.errors import SpecError


@contextmanager
def full_precision() -> Iterator[None]:
    """Switch off TF32 and bfloat16, which torch allows in convolutions: vectors would differ."""
    matmul, cudnn, mkldnn = (
        torch.backends.cuda.matmul,
        torch.backends.cudnn,
        torch.backends.mkldnn,
    )
    candidates: list[Any] = [
        matmul,
        *(getattr(cudnn, name, None) for name in ("conv", "rnn")),
        *(getattr(mkldnn, name, None) for name in ("matmul", "conv", "rnn")),
    ]
    if hasattr(matmul, "fp32_precision"):
        backends = [backend for backend in candidates if hasattr(backend, "fp32_precision")]
        before = [backend.fp32_precision for backend in backends]
        try:
            for backend in backends:
                backend.fp32_precision = "ieee"
            yield
        finally:
            for backend, precision in zip(backends, before, strict=True):
                backend.fp32_precision = precision
    else:  # torch < 2.9
        legacy = torch.get_float32_matmul_precision(), cudnn.allow_tf32
        try:
            torch.set_float32_matmul_precision("highest")
            cudnn.allow_tf32 = False
            yield
        finally:
            torch.set_float32_matmul_precision(legacy[0])
            cudnn.allow_tf32 = legacy[1]


def torch_device(name: str) -> torch.device:
    """Return a device that torch can use.

    Raises
    ------
    SpecError
        torch does not find it.
    """
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise SpecError(
            f"There is no device {name!r}: {str(error).strip().splitlines()[0].rstrip('.')}.",
            'A device is "cpu", or "cuda" where torch finds a GPU.',
            'Choose another device, such as "cpu".',
        ) from error
    return device
