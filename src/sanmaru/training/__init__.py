"""The training engine: loop, losses, optimisers, checkpoints, batches, augmentation."""
