"""Actors in processes of their own, through Ray."""
