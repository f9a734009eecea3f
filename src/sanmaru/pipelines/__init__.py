"""Pipelines: steps tied by completion, never by the clock."""
