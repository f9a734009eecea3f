"""The limits of a service, in one place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a service lets in, and how long it waits."""

    max_body_bytes: int = 16 * 2**20
    """Larger request bodies are answered with 413, chunked ones too."""
    max_rows: int = 10_000
    """Rows or pictures of one request."""
    max_history_rows: int = 100_000
    """Rows of one request to a model that forecasts, which all series together take."""
    queue: int = 256
    """Requests that may wait for the model; one more is answered with 503 and `Retry-After`."""
    timeout_s: float = 30.0
    """A body that takes longer to arrive is cut (408); a prediction that takes longer is given up (504)."""
    poll_s: float = 2.0
    """How often the registry is asked for the version under the alias."""
    batch_rows: int = 256
    """Rows that the model sees at once, at most."""
    retry_s: float = 30.0
    """First wait before a refused version is tried again; doubles up to `retry_most_s`."""
    retry_most_s: float = 1800.0
