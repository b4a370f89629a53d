"""Where torch computes: what is known and there, and the words for all else."""

import pytest
import torch

from reprostore.errors import SpecError
from reprostore.settings import Settings


@pytest.mark.parametrize(
    "device", ["cpu:abc", "cpu:", "cpu:1", "cuda:", "cuda:x", "cuda:-1", "cuda:²", "mps", ""]
)
def test_a_device_that_is_not_known_is_told_before_torch_sees_it(monkeypatch, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(SpecError, match="Devices are cpu, cuda, cuda:1 and so on, or auto"):
        Settings(device=device).resolved_device()


def test_cuda_devices_are_those_that_torch_finds(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for device in ("cpu", "cuda", "cuda:0", "cuda:1"):
        assert Settings(device=device).resolved_device() == device
    with pytest.raises(SpecError, match="CUDA devices here are cuda:0, cuda:1"):
        Settings(device="cuda:2").resolved_device()
