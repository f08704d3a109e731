"""Ray for runs with actors and for sweeps: how it is started, joined, kept to ourselves and ended."""

from tandem.cluster import environment  # noqa: F401  (Ray reads it when it is imported, which the other modules do)
