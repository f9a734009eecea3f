"""Feature steps: columns made of other columns, learned inside each fold, named in the project file."""
