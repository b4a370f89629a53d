"""Store diffusion-model samples once; measure reproducibility and memorization without more."""

from reprostore.errors import ReprostoreError
from reprostore.store import SampleStore, create_store, open_store

__version__ = "0.1.0"
__all__ = ["ReprostoreError", "SampleStore", "__version__", "create_store", "open_store"]
