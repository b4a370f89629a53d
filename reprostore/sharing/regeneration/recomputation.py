"""The samples of one run, computed again and compared with those in a store."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from reprostore.batches import sampled_batch
from reprostore.canonical import fingerprint
from reprostore.embed import EncoderHandle
from reprostore.encoders import Encoder
from reprostore.errors import PairingError
from reprostore.execution import current_execution
from reprostore.layout import probes_agree
from reprostore.neighbors import Written
from reprostore.seeds import seeds_text
from reprostore.sharing.regeneration.comparison import Comparison
from reprostore.sharing.regeneration.floor import FLOOR, VERSION, stored_executions
from reprostore.sharing.regeneration.portion import Regeneration
from reprostore.sharing.regeneration.recorded_models import Prepared
from reprostore.store import Run, SampleStore

Progress = Callable[[str, int, int], None]
"""Called after every batch with the run's path, its finished samples and all that were chosen."""


class Recomputation:
    """Computes run after run; encoders are kept while the next run has samples of the same shape.

    Parameters
    ----------
    store : SampleStore
        Where the samples are.
    asked : Regeneration
        Which samples, and how.
    device : str
        "cpu", or a CUDA device.
    handles : sequence of EncoderHandle
        The encoders of `asked`.
    """

    def __init__(
        self,
        store: SampleStore,
        asked: Regeneration,
        device: str,
        handles: Sequence[EncoderHandle],
    ) -> None:
        self._store, self._asked, self._device, self._handles = store, asked, device, handles
        self._encoders: dict[tuple[int, ...], list[tuple[EncoderHandle, Encoder]]] = {}

    def floor(self, run: Run, prepared: Prepared, progress: Progress) -> xr.Dataset:
        """Generate chosen samples of one run anew, and compare them with those stored.

        Parameters
        ----------
        run : Run
            With written samples.
        prepared : Prepared
            Its model and sampler.
        progress : callable
            Called after every batch.

        Returns
        -------
        xarray.Dataset
            See `reprostore.sharing.regeneration.regenerate.regenerate`, also for the errors.
        """
        asked, spec, batch_size = self._asked, run.spec, prepared.batch_size
        written = Written.of(run)
        chosen = asked.portion.choose(written.seeds, asked.rng_seed, run.path)
        chosen = chosen[np.argsort(written.slots[chosen])]  # in the order in which they are stored
        slots, seeds = written.slots[chosen], written.seeds[chosen]
        digests, probes = written.digests[chosen], run.recorded("noise_probe")[slots]
        comparison = Comparison(
            self._store, run, slots, digests, self._encoders_for(spec.sample_shape)
        )
        for start in range(0, len(slots), batch_size):
            rows = slice(start, min(start + batch_size, len(slots)))
            probe, states = sampled_batch(
                prepared.sampler, prepared.model, seeds[rows], batch_size, spec.stored_dtype
            )
            _check_noise(run, seeds[rows], probe, probes[rows])
            comparison.add(rows, states)
            progress(run.path, rows.stop, len(slots))
        executions, which = stored_executions(self._store, run, slots)
        floor = xr.Dataset(
            {
                **comparison.variables(),
                "digest": ("seed", digests),
                "stored_execution": ("seed", which),
            },
            coords={
                "seed": seeds,
                "step": np.asarray(spec.steps, dtype=np.int64),
                "encoder": np.asarray([handle.name for handle in self._handles]),
            },
        )
        execution = self._execution(batch_size, prepared.dtype)
        floor.attrs.update(self._attributes(run, execution, seeds, digests))
        floor.attrs.update(execution=execution, stored_executions=executions)
        floor.attrs["stored_vectors"] = comparison.stored_vectors
        return floor

    def _encoders_for(self, shape: tuple[int, ...]) -> list[tuple[EncoderHandle, Encoder]]:
        if shape not in self._encoders:
            self._encoders = {shape: [(handle, handle.load(shape)) for handle in self._handles]}
        return self._encoders[shape]

    def _execution(self, batch_size: int, dtype: str) -> dict[str, Any]:
        kind = self._device.partition(":")[0]
        name = {"device_name": torch.cuda.get_device_name(self._device)} if kind == "cuda" else {}
        now = current_execution(kind, torch.get_num_threads(), batch_size, tf32=self._asked.tf32)
        return now | {"compute_dtype": dtype} | name

    def _attributes(
        self,
        run: Run,
        execution: dict[str, Any],
        seeds: NDArray[np.int64],
        digests: NDArray[np.uint64],
    ) -> dict[str, Any]:
        asked = self._asked
        made_from = {
            "run": run.spec.fingerprint,
            "digests": fingerprint([seeds.tolist(), digests.tolist()]),
            "encoders": {handle.name: handle.fingerprint for handle in self._handles},
        }
        return {
            "analysis": FLOOR,
            "question": {
                "analysis": FLOOR,
                "version": VERSION,
                "runs": [run.path],
                "portion": asked.portion.text,
                "rng_seed": asked.rng_seed,
                "encoders": list(asked.encoders),
                # Those of the same portion of other samples of the run are kept beside it.
                "samples": made_from["digests"],
                "execution": execution,
            },
            "made_from": made_from,
            "made_from_fingerprint": fingerprint(made_from),
            "run": run.path,
            "encoder": ", ".join(asked.encoders),
            "encoder_identities": {handle.name: handle.identity for handle in self._handles},
        }


def _check_noise(
    run: Run, seeds: NDArray[np.int64], anew: NDArray[np.float32], stored: NDArray[np.float32]
) -> None:
    padding = np.isnan(anew) & np.isnan(stored)
    agree = (probes_agree(anew, stored) | padding).all(axis=1)
    if not agree.all():
        raise PairingError(
            f"The noise of the run {run.path} is not that of its seeds "
            f"{seeds_text(seeds[~agree])}.",
            "A sample begins from the noise that its seed gives; its first values are stored.",
            "Do not use these samples: they were not made as the store says.",
        )
