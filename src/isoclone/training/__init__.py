"""Train a run: recipes, batches, the training loop, checkpoints."""
