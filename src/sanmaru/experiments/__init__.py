"""The main job and what is done with its runs: train, compare, ensemble, explore, report."""
