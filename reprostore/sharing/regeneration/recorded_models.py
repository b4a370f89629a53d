"""Models that made the runs of a store, loaded to compute some of their samples again."""

from dataclasses import dataclass
from pathlib import Path

import torch

from reprostore.closed_items import is_closed_form, stored_items
from reprostore.models import load_model, weight_digests
from reprostore.models.base import Model, state_dtype
from reprostore.models.items import Items
from reprostore.pending import RunRequest
from reprostore.resolve import prepare
from reprostore.samplers import Sampler
from reprostore.store import Run, SampleStore
from reprostore.store.identity import check_identity


@dataclass(frozen=True)
class Prepared:
    """A run's model and sampler, ready to compute, and how they will.

    Attributes
    ----------
    model : Model
        Loaded.
    sampler : Sampler
        Resolved for it.
    batch_size : int
        Samples per forward pass.
    dtype : str
        In what the model computes.
    other_noise : bool
        Whether the noise that the sampler draws on the way is not that of the stored samples.
    """

    model: Model
    sampler: Sampler
    batch_size: int
    dtype: str
    other_noise: bool


class RecordedModels:
    """Loads models that a study names; one is kept while the next run has the same.

    Parameters
    ----------
    store : SampleStore
        Has the items of closed forms.
    base : Path
        Folder to which the paths of models are relative.
    device : str
        "cpu", or a CUDA device.
    batch_size : int, optional
        Samples per forward pass; that of each run when left out.
    dtype : str, optional
        In what models compute; as each run was when left out.
    """

    def __init__(
        self,
        store: SampleStore,
        base: Path,
        device: str,
        *,
        batch_size: int | None = None,
        dtype: str | None = None,
    ) -> None:
        self._store, self._base, self._device = store, base, device
        self._batch_size, self._dtype = batch_size, dtype
        self._model: tuple[tuple[str, str], Model, Items | None] | None = None

    def prepared(self, run: Run, request: RunRequest) -> Prepared:
        """Load the model of a run, and make sure that it is the one that made the run.

        Parameters
        ----------
        run : Run
            With written samples.
        request : RunRequest
            The run as the study says it.

        Raises
        ------
        IdentityError
            Weights, sampler or scheduler values are others than those recorded.
        """
        spec = run.spec
        batch_size = self._batch_size or spec.batch_size
        dtype = self._dtype or spec.compute_dtype
        model, items = self._loaded_model(request, dtype)
        weights = weight_digests(request.model_spec, self._base, items)
        anew, sampler = prepare(request, model, weights, batch_size=batch_size, dtype=dtype)
        check_identity(spec, anew.model_copy(update={"compute_dtype": spec.compute_dtype}))
        # A solver draws in the dtype of its state, and a generator gives other numbers in another.
        states = {state_dtype(getattr(torch, name)) for name in (dtype, spec.compute_dtype)}
        other_noise = sampler.stochastic and len(states) > 1
        return Prepared(model, sampler, batch_size, dtype, other_noise)

    def _loaded_model(self, request: RunRequest, dtype: str) -> tuple[Model, Items | None]:
        key = (request.model, dtype)
        if self._model is None or self._model[0] != key:
            self._model = None  # before the next one takes its memory
            spec, base = request.model_spec, self._base
            items = None
            if is_closed_form(spec):
                items = stored_items(self._store, spec, request.dataset_spec, base)
            self._model = (key, load_model(spec, base, self._device, dtype, items), items)
        return self._model[1:]
