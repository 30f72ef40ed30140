"""The end of a branch."""
