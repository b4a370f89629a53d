"""Whether a model still gives the samples that a run holds, where its files cannot tell."""

from reprostore.batches import sampled_batch
from reprostore.errors import DriftError
from reprostore.models.base import Model
from reprostore.samplers import Sampler
from reprostore.seeds import seeds_text
from reprostore.store import Run
from reprostore.store.digest import SeedDigests


def check_reproduces(run: Run, sampler: Sampler, model: Model, batch_size: int) -> None:
    """Compute the first written batch of a run again and compare its digests.

    The digest of a model from Python code covers the file that defines it, not what the code reads
    or imports. So before such a run is continued, one batch is computed again.

    Parameters
    ----------
    run : Run
        The run that is to be continued.
    sampler, model
        As they would continue it.
    batch_size : int
        Samples per forward pass, that of the run.

    Raises
    ------
    DriftError
        The samples come out with other bits than those stored.
    """
    slots, _ = run.written()
    if len(slots) == 0:
        return
    start = int(slots[0]) // batch_size * batch_size
    unit = start // run.unit_length
    stop = min(start + batch_size, (unit + 1) * run.unit_length, len(run.seeds))
    seeds = run.seeds[start:stop]
    digests = SeedDigests(len(seeds))
    _, states = sampled_batch(sampler, model, seeds, batch_size, run.spec.stored_dtype)
    for recorded in states:
        digests.add(*(state for state in recorded if state is not None))
    written = slots[slots < stop]
    stored = run.recorded("digest")[written]
    changed = stored != digests.values()[written - start]
    if changed.any():
        raise DriftError(
            f"The model {run.spec.model} of the run {run.path}, computed again, gives other "
            f"samples than those stored, for the seeds {seeds_text(run.seeds[written[changed]])}.",
            "A run is continued with the model that began it; of a model from Python code only "
            "the file that defines it is compared.",
            "Restore what the code reads, such as its weights, or give the changed model another "
            "name. If only the machine is another one, pass --accept-drift.",
        )
