"""How to compute: device, TF32, and whether an execution may change."""

from dataclasses import dataclass

import torch

from reprostore.errors import SpecError


@dataclass(frozen=True)
class Settings:
    """How to compute.

    Attributes
    ----------
    device : str
        "cpu", "cuda", or "auto" for CUDA where there is a device.
    tf32 : bool
        Allow TF32 in matrix products and convolutions on CUDA devices.
    accept_drift : bool
        Continue a run although its execution differs from that of its earlier sessions.
    """

    device: str = "auto"
    tf32: bool = False
    accept_drift: bool = False

    def resolved_device(self) -> str:
        """Return "cpu" or a CUDA device.

        Raises
        ------
        SpecError
            The device is not known, or is a CUDA device that is not there.
        """
        available = torch.cuda.is_available()
        if self.device == "auto":
            return "cuda" if available else "cpu"
        kind, colon, number = self.device.partition(":")
        numbered = kind == "cuda" and number.isascii() and number.isdigit()
        if kind not in ("cpu", "cuda") or (colon and not numbered):
            raise SpecError(
                f"The device {self.device!r} is not known.",
                "Devices are cpu, cuda, cuda:1 and so on, or auto.",
                "Choose one of these.",
            )
        if kind == "cuda" and not available:
            raise SpecError(
                f"The device {self.device} was asked for, and torch finds no CUDA device.",
                "--device cuda needs a GPU and a CUDA build of torch.",
                "Use --device cpu, or leave it out.",
            )
        if numbered and int(number) >= torch.cuda.device_count():
            known = ", ".join(f"cuda:{index}" for index in range(torch.cuda.device_count()))
            raise SpecError(
                f"The device {self.device} was asked for, and torch does not find it.",
                f"CUDA devices here are {known}.",
                "Choose one of these.",
            )
        return self.device
