"""Measure a trained policy: dev loss, whole episodes, baselines, film."""
