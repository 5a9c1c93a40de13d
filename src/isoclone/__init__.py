"""Compute-optimal imitation learning."""
