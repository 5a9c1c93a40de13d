"""A study in a directory: its specification, its plan, and the work on it."""
