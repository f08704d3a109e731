"""Replays, which store rows and sample from them."""
