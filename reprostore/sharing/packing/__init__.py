"""The parts of a pack: what is chosen, described and written."""
