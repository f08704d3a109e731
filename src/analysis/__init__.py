"""Analysis of recorded runs: comparisons, figures, films and replay pages."""
