"""What drives the other parts."""
