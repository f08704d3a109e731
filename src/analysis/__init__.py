"""What is made of recorded runs: comparisons, figures, films and replay pages."""
