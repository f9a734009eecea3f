"""Online serving: the app, batching, reload, keys, pages."""
