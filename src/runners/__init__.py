"""The runners, which drive the other parts of a run."""
