"""Readers of other people's studies."""
