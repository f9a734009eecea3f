"""Where files go: a local folder or S3-compatible storage, committed by a manifest."""

from sanmaru.storage.manifest import Manifest, StoredFile
from sanmaru.storage.objects import ChangedError, StorageError
from sanmaru.storage.open import open_storage
from sanmaru.storage.storage import Storage

__all__ = ["ChangedError", "Manifest", "Storage", "StorageError", "StoredFile", "open_storage"]
