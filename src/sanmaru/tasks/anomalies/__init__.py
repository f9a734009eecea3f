"""Anomaly detection: rows that are unlike those of before, flagged under a stated budget of alarms."""
