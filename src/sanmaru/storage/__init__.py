"""Where files go: a local folder or S3-compatible storage, committed by a manifest."""
