"""Readers of published studies."""
