"""Messages on mistakes in a YAML file that do not quote the file."""

import yaml


def said(error: yaml.YAMLError) -> str:
    """Return what is wrong and where, without the line itself, because it may hold part of a password."""
    problem, mark = getattr(error, "problem", None), getattr(error, "problem_mark", None)
    if not problem or not mark:
        return f"{type(error).__name__}: {getattr(error, 'reason', 'it cannot be read')}"
    return f"{problem} in line {mark.line + 1}, column {mark.column + 1}"
