"""Vectors of samples and dataset items in the store."""

from reprostore.embed.datasets import DatasetVectors, embed_dataset
from reprostore.embed.handle import EncoderHandle, stored_encoder
from reprostore.embed.runs import RunVectors, embed_run

__all__ = [
    "DatasetVectors",
    "EncoderHandle",
    "RunVectors",
    "embed_dataset",
    "embed_run",
    "stored_encoder",
]
