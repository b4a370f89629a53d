"""The sample store: format, layout, locks, writing and reading."""

from reprostore.store.opening import create_store, open_store
from reprostore.store.root import SampleStore
from reprostore.store.run import Run, StepTable, Unit

__all__ = ["Run", "SampleStore", "StepTable", "Unit", "create_store", "open_store"]
