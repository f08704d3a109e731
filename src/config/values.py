"""Single values: how they are typed, how they are written so that they are read back, and how a message shows them."""

import ast
import os
import unicodedata
import warnings
from collections.abc import Mapping
from typing import Any

from tandem.hiding import hidden

WORDS = {"true": True, "false": False, "null": None, "none": None}
MOST_OF_A_PATH = 300  # characters of a path, which is of no use if it is cut
MOST_SHOWN = 80  # characters of a value in a message, so that a wrong value of a megabyte fits a line, too


def typed(text: str) -> Any:
    """Return what a word means: a Python literal's value; true, false and null as in YAML; anything else is text."""
    if text.lower() in WORDS:
        return WORDS[text.lower()]
    try:
        with warnings.catch_warnings():  # Python warns of odd literals ("1is"), which here are text
            warnings.simplefilter("ignore")
            value = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):  # also of what is nested too deeply
        return text
    return value if plain(value) else text


def plain(value: Any) -> bool:
    """Return whether a value is made of numbers, text, True, False, None, lists and mappings, as records hold."""
    if isinstance(value, Mapping):
        return all(plain(key) and plain(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return all(plain(item) for item in value)
    return value is None or isinstance(value, (bool, int, float, str))


def written(value: Any) -> str:
    """Return a value as a word that `typed` reads back as the same value; text that looks like a number gets quotes."""
    return value if isinstance(value, str) and typed(value) == value else repr(value)


def shown(value: Any) -> str:
    """Return a value as a message shows it: on one line, printable and not long."""
    try:
        text = repr(value)
    except ValueError:  # Python does not print whole numbers of more than 4300 digits
        return "a number of thousands of digits"
    return shortened(text)


def shortened(text: str, most: int = MOST_SHOWN) -> str:
    """Return a text, cut where it is longer than a message should be; secrets are hidden
    first, or half of one may stay.
    """
    text = hidden(text)
    return text if len(text) <= most else f"{text[: most - 20]}... ({len(text)} characters)"


def expanded(path: str) -> str:
    """Return a path with its ~ replaced by the home folder, which a shell does not do within quotes or after `=`.

    Raises:
      ValueError: there is no such home folder.
    """
    found = os.path.expanduser(path)
    if found.startswith("~"):
        raise ValueError(f"there is no home folder {path.partition('/')[0]}; write the whole path, or ./{path}")
    return found


def odd_characters(text: str) -> bool:
    """Return whether a text holds control characters, or bytes that are not UTF-8."""
    return any(unicodedata.category(character) in ("Cc", "Cs") for character in text)


def printable(text: str) -> str:
    """Return a text with what would move a terminal's cursor or cannot be encoded written out; its lines stay."""
    return "".join(letter if letter.isprintable() or letter == "\n" else repr(letter)[1:-1] for letter in text)
