"""The environments, and the code that they share."""
