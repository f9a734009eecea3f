"""One file per kind of source: what to ask, and how to read what comes back."""
