"""Pictures: reading, the resident cache, thumbnails."""
