"""Generating into a store against the bare loop over the same model, scheduler and batch."""

import itertools
from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler, UNet2DModel
from sides import compare

from reprostore import create_store
from reprostore.generate import generate
from reprostore.pending import RunRequest
from reprostore.specs import ConditionSpec, ModelSpec, SamplerSpec

CHECKPOINT = Path(__file__).parents[2] / "examples" / "digits" / "checkpoints" / "a-898"
SEEDS, BATCH, STEPS = 512, 128, 50


def bare_loop():
    """What a script does that keeps nothing: the model and the scheduler of diffusers."""
    model = UNet2DModel.from_pretrained(CHECKPOINT, torch_dtype=torch.float32).eval()
    scheduler = DDIMScheduler.from_pretrained(CHECKPOINT)
    with torch.inference_mode():
        for start in range(0, SEEDS, BATCH):
            generators = [
                torch.Generator().manual_seed(seed) for seed in range(start, start + BATCH)
            ]
            sample = torch.stack([torch.randn((1, 8, 8), generator=g) for g in generators])
            scheduler.set_timesteps(STEPS)
            for timestep in scheduler.timesteps:
                sample = scheduler.step(
                    model(sample, timestep).sample, timestep, sample
                ).prev_sample
    return sample


@pytest.mark.parametrize("record", ["final", "all"], ids=["final only", "all steps and denoised"])
def test_generate_against_bare_loop(benchmark, tmp_path, record):
    """At least 0.95 (final only) and 0.90 (all steps, denoised) of the samples per second."""
    counter = itertools.count()
    sampler = SamplerSpec(
        scheduler="DDIMScheduler", steps=STEPS, record=record, denoised=record == "all"
    )
    request = RunRequest(
        model="a-898",
        sampler="ddim50",
        condition="none",
        model_spec=ModelSpec(source=str(CHECKPOINT)),
        sampler_spec=sampler,
        condition_spec=ConditionSpec(),
    )

    def ours():
        path = tmp_path / f"{next(counter)}.zarr"
        generate(lambda: create_store(path), [request], range(SEEDS), tmp_path, batch_size=BATCH)

    compare(benchmark, ours, bare_loop, repeats=5)
    benchmark.extra_info["samples_per_s_share"] = 1 / benchmark.extra_info["ratio"]
