"""The model package: a folder that predicts without the project."""
