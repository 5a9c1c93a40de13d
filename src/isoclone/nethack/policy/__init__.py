"""Policies that read a terminal: encoders of screens, cores that remember."""
