"""The parts of a merge: what is compared, planned, joined and copied."""
