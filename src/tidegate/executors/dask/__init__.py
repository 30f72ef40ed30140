"""Runs on a Dask cluster: one that runs, one on this machine, or jobs of Slurm, PBS or LSF."""
