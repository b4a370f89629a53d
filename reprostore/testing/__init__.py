"""Public fakes: models whose behavior is known in closed form, and small checkpoints."""
