"""A real Slurm for tests, and the golden rows that were recorded from one."""
