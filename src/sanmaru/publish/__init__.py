"""Showing forecasts: a page, JSON, files and database rows that appear whole or not at all."""
