"""Reproducibility, generalization and memorization, measured on a sample store."""
