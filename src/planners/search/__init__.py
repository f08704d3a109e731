"""Planners that search with mctx."""
