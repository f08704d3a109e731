"""Ray for runs with actors and for sweeps: starting, joining, isolating and ending it."""

from tandem.cluster import environment  # noqa: F401  (Ray reads it when it is imported, which the other modules do)
