"""Trained policies on their own: checkpoints, and playing with them."""
