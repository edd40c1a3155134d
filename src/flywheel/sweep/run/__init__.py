"""A sweep's trials as jobs: on this machine, on a Ray cluster, under Slurm."""
