"""`sanmaru pipeline`: run the project's steps, see how they stand, do them again."""

from sanmaru.cli.pipeline.commands import app

__all__ = ["app"]
