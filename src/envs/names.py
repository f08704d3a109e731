"""The message for a name that an environment does not know."""

from collections.abc import Iterable

from tandem.registry import nearest


def check_name(what: str, given: str, allowed: Iterable[str]) -> None:
    """Raise a ValueError that names the nearest and all allowed values, unless `given` is one of them."""
    allowed = tuple(allowed)
    if given in allowed:
        return
    guess = nearest(given, allowed)
    hint = f"did you mean '{guess}'? " if guess else ""
    raise ValueError(f"{what}: '{given}' is not known; {hint}allowed: {', '.join(allowed)}")
