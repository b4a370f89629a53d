"""What `verify` and `repair` look at: the states, caches and datasets of a store."""
