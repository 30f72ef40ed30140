"""The AWS resources of a branch: which there are, whose they are, how they are deleted."""
