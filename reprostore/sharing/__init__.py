"""Sharing a store: verifying, repairing, regenerating, exporting, merging and packing it."""
