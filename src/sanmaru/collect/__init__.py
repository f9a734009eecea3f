"""Fetching from elsewhere: raw answers are stored first, then made into rows."""
