"""Samples that were made elsewhere, as runs of a store."""

from reprostore.importing.prepared import prepared_import
from reprostore.importing.request import ImportRequest
from reprostore.importing.write import import_samples, write_import

__all__ = ["ImportRequest", "import_samples", "prepared_import", "write_import"]
