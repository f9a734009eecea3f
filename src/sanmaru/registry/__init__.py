"""Registered versions, aliases, promotion gates and the log of moves."""
