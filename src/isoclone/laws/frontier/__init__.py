"""Forecast the lowest loss at a compute budget: forecasters, their ensemble, back-tests."""
