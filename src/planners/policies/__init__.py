"""Planners that act without search."""
