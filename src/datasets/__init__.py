"""Recorded data: datasets on disk, what their cards say, and how other formats become one."""
