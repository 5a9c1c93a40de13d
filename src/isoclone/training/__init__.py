"""Train a run: recipes, the training loop."""
