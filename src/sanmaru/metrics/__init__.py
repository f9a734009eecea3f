"""Metrics as pure functions on arrays, and their intervals."""
