"""Train the eight small U-Nets of the digits study again.

    python examples/digits/train.py [--out FOLDER] [--only MODEL …] [--jobs 2]

Every model is an unconditional `diffusers.UNet2DModel` trained by DDPM noise prediction on a
subset of scikit-learn's 8x8 digits in [-1, 1]: Adam 1e-3 with linear decay, EMA 0.99, batch 64,
3,000 steps, linear betas 1e-4 to 0.02. Models on half A and half B share neither an image nor
an initialization.
"""

import argparse
import json
import multiprocessing
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import DDPMScheduler, UNet2DModel
from diffusers.training_utils import EMAModel
from sklearn.datasets import load_digits

from reprostore.datasets.sources import permutation

SHUFFLE = 0
HALF = 898
STEPS, BATCH, LEARNING_RATE, EMA_DECAY = 3000, 64, 1e-3, 0.99


@dataclass(frozen=True)
class Recipe:
    """One model: its name, its channel widths, its training items and its trainer seed."""

    name: str
    width: tuple[int, int]
    first: int
    size: int
    trainer_seed: int


RECIPES = [
    *(Recipe(f"a-{n}", (16, 32), 0, n, 0) for n in (32, 128, 898)),
    *(Recipe(f"b-{n}", (16, 32), HALF, n, 1) for n in (32, 128, 898)),
    *(Recipe(f"a-wide-{n}", (32, 64), 0, n, 2) for n in (32, 898)),
]


def shuffled_digits() -> torch.Tensor:
    """Return the 1,797 digits, (item, 1, 8, 8) in [-1, 1], in the study's order."""
    images = load_digits().images.astype(np.float32) / 8 - 1
    return torch.from_numpy(images[permutation(len(images), SHUFFLE), None])


def train(recipe: Recipe, out: Path) -> None:
    """Train one model and write it as a diffusers folder with its scheduler and recipe."""
    torch.set_num_threads(1)
    torch.manual_seed(recipe.trainer_seed)
    items = shuffled_digits()[recipe.first : recipe.first + recipe.size]
    scheduler = DDPMScheduler(beta_start=1e-4, beta_end=0.02, clip_sample=False)
    model = UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        layers_per_block=1,
        block_out_channels=recipe.width,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        norm_num_groups=8,
        attention_head_dim=8,
    )
    ema = EMAModel(model.parameters(), decay=EMA_DECAY)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=STEPS)
    losses = []
    for _ in range(STEPS):
        clean = items[torch.randint(len(items), (BATCH,))]
        noise = torch.randn_like(clean)
        timesteps = torch.randint(scheduler.config.num_train_timesteps, (BATCH,))
        predicted = model(scheduler.add_noise(clean, noise, timesteps), timesteps).sample
        loss = torch.nn.functional.mse_loss(predicted, noise)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        decay.step()
        ema.step(model.parameters())
        losses.append(loss.item())
    ema.copy_to(model.parameters())
    folder = out / recipe.name
    model.save_pretrained(folder)
    scheduler.save_pretrained(folder)
    record = {
        **asdict(recipe),
        "shuffle": SHUFFLE,
        "steps": STEPS,
        "batch": BATCH,
        "learning_rate": LEARNING_RATE,
        "ema_decay": EMA_DECAY,
        "parameters": model.num_parameters(),
        "loss_every_100_steps": np.asarray(losses).reshape(-1, 100).mean(1).round(5).tolist(),
    }
    (folder / "training.json").write_text(json.dumps(record, indent=2) + "\n")


def main() -> None:
    """Train the chosen models, several side by side, one thread each."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "checkpoints")
    parser.add_argument("--only", action="append", choices=[r.name for r in RECIPES])
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    chosen = [r for r in RECIPES if not arguments.only or r.name in arguments.only]
    with multiprocessing.get_context("spawn").Pool(arguments.jobs) as pool:
        pool.starmap(train, [(recipe, arguments.out) for recipe in chosen], chunksize=1)


if __name__ == "__main__":
    main()
