"""Tabular: regression, binary and multiclass classification on tables of mixed types."""
