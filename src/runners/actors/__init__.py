"""Actors in their own processes, through Ray."""
