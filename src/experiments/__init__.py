"""Many runs: batches, ablations and sweeps, as plain functions."""
