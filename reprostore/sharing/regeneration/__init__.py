"""Generating chosen samples again, and the numerical floor that this shows."""
