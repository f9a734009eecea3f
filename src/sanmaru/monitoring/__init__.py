"""Watching a model at work: drift, errors, alerts, with thresholds of a stated false-alarm rate."""
