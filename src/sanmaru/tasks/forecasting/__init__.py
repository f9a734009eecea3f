"""Forecasting: numbers of one or several series, up to a horizon, with quantiles."""
