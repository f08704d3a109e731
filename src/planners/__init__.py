"""The planners, which choose actions."""
