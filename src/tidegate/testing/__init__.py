"""Try a pipeline and test it: runs in a temporary place, which leave ledger and outputs alone."""
