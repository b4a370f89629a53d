"""The training loop."""

import hashlib
import math
import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.training_utils import EMAModel
from numpy.typing import NDArray

from reprostore.errors import TrainingError
from reprostore.interrupts import deferred
from reprostore.models.checkpoint import quiet_diffusers
from reprostore.recipe import RecipeSpec
from reprostore.training.around import check_items, check_seed, locked, seeded, threads_set
from reprostore.training.devices import Devices, devices_of
from reprostore.training.draws import Draws, LearningRate
from reprostore.training.identity import check_items_digest, training_identity
from reprostore.training.leftovers import clear_leftovers
from reprostore.training.networks import make_network
from reprostore.training.objectives import Objective, objective_of
from reprostore.training.record import Progress, kept_folder, loss_curve, session, state_folder
from reprostore.training.state import (
    Training,
    load_training,
    save_training,
    saved_step,
    write_model,
)
from reprostore.training.status import training_status

REPORT_SECONDS = 0.5


def run_training(
    recipe: RecipeSpec,
    items: NDArray[np.float32],
    folder: Path,
    *,
    trained_on: Mapping[str, Any],
    trainer_seed: int,
    base: Path,
    device: str,
    threads: int | None,
    progress: Progress | None,
    save_seconds: float,
) -> dict[str, Any]:
    """Train a model; see `reprostore.training.train_model`."""
    check_items(items)
    check_seed(trainer_seed)
    data = np.ascontiguousarray(items, dtype=np.float32)
    digest = hashlib.sha256(data.data).hexdigest()
    objective = objective_of(recipe)
    devices = devices_of(recipe, device)
    with threads_set(threads), seeded(trainer_seed, devices), quiet_diffusers():
        network, trained = make_network(recipe, items.shape[1:], base)
        with locked(folder, devices):
            status = training_status(folder, recipe, trained_on, trainer_seed, base)
            if status.record is not None:  # by the process that held the lock
                check_items_digest(status.record, digest, folder)
                if devices.is_main:  # which may have been killed before it had cleared this away
                    clear_leftovers(folder, status.record)
                return status.record
            loop = _Loop(
                recipe=recipe,
                objective=objective,
                items=torch.from_numpy(data),
                folder=folder,
                identity=training_identity(recipe, trained_on, trainer_seed, base),
                trained=trained,
                training=replace(
                    _begin(recipe, network, trained, len(items), trainer_seed, devices),
                    items=digest,
                ),
            )
            return loop.run(progress, save_seconds)


def _begin(
    recipe: RecipeSpec,
    network: torch.nn.Module,
    trained: list[torch.nn.Parameter],
    count: int,
    seed: int,
    devices: Devices,
) -> Training:
    network.to(devices.device)
    kind = torch.optim.AdamW if recipe.weight_decay else torch.optim.Adam
    optimizer = kind(trained, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    ema = None
    if recipe.ema_decay:
        ema = EMAModel(network.parameters(), decay=recipe.ema_decay)
        ema.to(devices.device)
    return Training(network, optimizer, ema, Draws(count, seed), devices)


class _Loop:
    """One training from where it is to its end."""

    def __init__(
        self,
        *,
        recipe: RecipeSpec,
        objective: Objective,
        items: torch.Tensor,
        folder: Path,
        identity: Mapping[str, Any],
        trained: list[torch.nn.Parameter],
        training: Training,
    ) -> None:
        self._recipe, self._items, self._folder = recipe, items, folder
        self._identity, self._trained, self._training = identity, trained, training
        self._devices = training.devices
        self._objective = objective
        self._rate = LearningRate(
            recipe.learning_rate, recipe.schedule, recipe.warmup, recipe.total_steps
        )

    def run(self, progress: Progress | None, save_seconds: float) -> dict[str, Any]:
        training, total = self._training, self._recipe.total_steps
        load_training(training, self._folder, self._identity)
        threads = torch.get_num_threads()
        training.sessions.append(session(training.step, self._devices.kind, threads))
        call, optimizer = self._devices.prepare(training.network, training.optimizer)
        before, started = training.seconds, time.monotonic()
        saved = reported = started
        if training.step in self._recipe.checkpoints:
            self._keep()  # a process may have been killed when it had saved this state
        with deferred() as check_interrupt:  # the state is whole between two steps alone
            while training.step < total:
                loss = self._step(call, optimizer)
                now = time.monotonic()
                training.seconds = before + now - started
                if training.step in self._recipe.checkpoints:
                    self._keep()
                try:
                    check_interrupt()
                    if progress is not None and now - reported >= REPORT_SECONDS:
                        progress(training.step, total, loss)
                        reported = now
                except KeyboardInterrupt:
                    self._save()
                    raise
                if now - saved >= save_seconds and training.step < total:
                    self._save()
                    saved = now
        if progress is not None:
            progress(total, total, training.losses[-1])
        return self._finish()

    def _step(self, call: Any, optimizer: Any) -> float:  # noqa: ANN401
        recipe, training, device = self._recipe, self._training, self._devices.device
        draws, objective = training.draws, self._objective
        self._devices.reseed(self._identity["trainer_seed"], training.step)
        clean = self._items[draws.items(recipe.batch_size)]
        if "flip" in recipe.augmentation:
            flipped = draws.flips(recipe.batch_size)
            clean = torch.where(flipped[:, None, None, None], clean.flip(-1), clean)
        noise = draws.noise(tuple(clean.shape))
        levels = objective.levels(recipe.batch_size, draws.generator)
        own = slice(self._devices.rank, None, self._devices.processes)
        example = objective.example(*(each[own].to(device) for each in (clean, noise, levels)))
        with self._devices.autocast():
            output = call(example.inputs, example.timestep).sample
        loss = torch.nn.functional.mse_loss(output.float(), example.target)
        value = self._devices.mean(loss)
        if not math.isfinite(value):
            name = self._folder.name
            raise self._diverged(f"The loss of {name} became {value} in step {training.step + 1}.")
        for group in optimizer.param_groups:
            group["lr"] = self._rate.at(training.step)
        optimizer.zero_grad()
        self._devices.backward(loss)
        if recipe.max_grad_norm is not None:
            self._devices.clip(self._trained, recipe.max_grad_norm)
        optimizer.step()
        if training.ema is not None:
            training.ema.step(training.network.parameters())
        training.step += 1
        training.losses.append(value)
        return value

    def _diverged(self, found: str) -> TrainingError:
        step, place = saved_step(self._folder), state_folder(self._folder)
        kept = f"The state after step {step} is kept in {place}" if step else "No state was saved"
        return TrainingError(
            found,
            f"A training needs a finite loss and finite weights. {kept}.",
            "Lower the learning rate, add a warm-up or max_grad_norm; with another recipe the "
            f"training begins anew, once {place} is deleted.",
        )

    def _check_weights(self) -> None:
        """Refuse to keep weights that the last update took out of the finite numbers."""
        training = self._training
        average = [] if training.ema is None else training.ema.shadow_params
        if not all(bool(p.isfinite().all()) for p in (*training.network.parameters(), *average)):
            raise self._diverged(
                f"The weights of {self._folder.name} became infinite or NaN by step "
                f"{training.step}."
            )

    def _save(self) -> None:
        if self._devices.is_main:
            self._check_weights()
            save_training(self._training, self._folder, self._identity)

    def _keep(self) -> None:
        kept = kept_folder(self._folder, self._training.step)
        if self._devices.is_main and not kept.exists():  # else an earlier process kept it
            self._save()  # first: what follows may find no room
            self._write(kept)

    def _finish(self) -> dict[str, Any]:
        record = self._record()
        if self._devices.is_main:
            self._save()  # first: what follows may find no room
            record = self._write(self._folder)
            shutil.rmtree(state_folder(self._folder), ignore_errors=True)
        self._devices.wait()
        return record

    def _record(self) -> dict[str, Any]:
        training, recipe = self._training, self._recipe
        curve = loss_curve(training.losses)
        network = training.network
        return {
            "step": training.step,
            "steps": recipe.total_steps,
            "items": len(self._items),
            "items_sha256": training.items,
            "sample_shape": list(self._items.shape[1:]),
            "parameters": sum(p.numel() for p in network.parameters()),
            "trained_parameters": sum(p.numel() for p in self._trained),
            "final_loss": curve["loss"][-1],
            "seconds": round(training.seconds, 1),
            "identity": dict(self._identity),
            "start_from": recipe.start_from,
            "sessions": training.sessions,
            "loss_curve": curve,
        }

    def _write(self, place: Path) -> dict[str, Any]:
        scheduler = self._objective.scheduler
        return write_model(self._training, self._folder, place, scheduler, self._record())
