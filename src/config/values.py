"""Single values: how they are parsed, how they are written so that parsing returns them, and how messages show them."""

import ast
import os
import unicodedata
import warnings
from collections.abc import Mapping
from typing import Any

from tandem.hiding import hidden

WORDS = {"true": True, "false": False, "null": None, "none": None}
MOST_OF_A_PATH = 300  # most characters of a path, which should not be cut
MOST_SHOWN = 80  # most characters of a value in a message, so that even a value of a megabyte fits on a line


def typed(text: str) -> Any:
    """Return the value of a word: a Python literal; true, false and null as in YAML; anything else is text."""
    if text.lower() in WORDS:
        return WORDS[text.lower()]
    try:
        with warnings.catch_warnings():  # Python warns of odd literals ("1is"), which are text here
            warnings.simplefilter("ignore")
            value = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):  # too deeply nested
        return text
    return value if plain(value) else text


def plain(value: Any) -> bool:
    """Return whether a value consists of numbers, text, True, False, None, lists and mappings, as records do."""
    if isinstance(value, Mapping):
        return all(plain(key) and plain(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return all(plain(item) for item in value)
    return value is None or isinstance(value, (bool, int, float, str))


def written(value: Any) -> str:
    """Return a value as a word that `typed` reads back as the same value; text that looks like a number gets quotes."""
    return value if isinstance(value, str) and typed(value) == value else repr(value)


def shown(value: Any) -> str:
    """Return a value as messages show it: on one line, printable and short."""
    try:
        text = repr(value)
    except ValueError:  # Python does not print whole numbers of more than 4300 digits
        return "a number of thousands of digits"
    return shortened(text)


def shortened(text: str, most: int = MOST_SHOWN) -> str:
    """Return a text, cut to the length of a message. Secrets are hidden first, because the
    cut could leave half of one.
    """
    text = hidden(text)
    return text if len(text) <= most else f"{text[: most - 20]}... ({len(text)} characters)"


def expanded(path: str) -> str:
    """Return a path with ~ replaced by the home folder, because a shell does not do this in quotes or after `=`.

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
    """Return a text in which control characters and invalid bytes are escaped; line breaks stay."""
    return "".join(letter if letter.isprintable() or letter == "\n" else repr(letter)[1:-1] for letter in text)
