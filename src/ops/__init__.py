"""Mathematics that several parts share."""
