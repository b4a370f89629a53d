"""Datasets: where real items come from, and how they get into the store."""
