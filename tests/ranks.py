"""Processes that train one model together on the CPU, as several GPUs do.

``python ranks.py RANK FOLDER`` trains the models of `MODELS` in that folder, one after the other,
and writes what dropout set to zero into ``masks-RANK.pt``.
"""

import sys
from datetime import timedelta
from pathlib import Path
from unittest.mock import patch

import torch
import torch.distributed as dist
from test_training_runs import recipe, train

from reprostore.training.devices import Devices

PROCESSES = 2
MODELS = {
    "finished": recipe(),
    "together": recipe(steps=5, augmentation=("flip",), max_grad_norm=1.0),
    "dropout": recipe(steps=3, dropout=0.5),
}


class Gloo(Devices):
    """What `Accelerated` does, by torch's own means."""

    kind = "gloo"

    def __init__(self, rank):
        self.rank, self.processes, self.is_main = rank, PROCESSES, rank == 0

    def prepare(self, network, optimizer):
        return torch.nn.parallel.DistributedDataParallel(network), optimizer

    def mean(self, loss):
        total = loss.detach().clone()
        dist.all_reduce(total)
        return total.item() / PROCESSES

    def wait(self):
        dist.barrier()


def main(rank, folder):
    """Be one of the processes."""
    from reprostore.training import loop

    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meeting",
        rank=rank,
        world_size=PROCESSES,
        timeout=timedelta(seconds=60),
    )
    masks = []

    def keep(module, inputs, output):
        if isinstance(module, torch.nn.Dropout) and module.p:
            masks.append(output == 0)

    hook = torch.nn.modules.module.register_module_forward_hook(keep)
    try:
        with patch.object(loop, "devices_of", lambda recipe, device: Gloo(rank)):
            for name, made in MODELS.items():
                train(folder / name, made)
    finally:
        hook.remove()
        dist.destroy_process_group()
    torch.save(masks, folder / f"masks-{rank}.pt")


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
