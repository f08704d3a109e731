"""The environments, and what they have in common."""
