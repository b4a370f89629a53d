"""Sharing a store: verifying, importing, exporting, merging and packing it."""
