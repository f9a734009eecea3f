"""What is learned: one module or folder per task, behind the two protocols of `base`."""
