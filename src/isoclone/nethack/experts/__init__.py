"""Experts that play NetHack."""
