"""Texts without the secrets in them: whatever is printed, stored or sent goes through `hidden`.

A secret is the user and password of a URL, however badly it is typed, and every option of a URL that holds one. Where
nobody can tell where a password ends, too much is hidden rather than too little. What is looked at in one go has a
bound, because the time would else grow with the square of a text without spaces.
"""

import re
from collections.abc import Mapping
from typing import Any

GONE = "***"
EXAMPLE = "USER:PASSWORD"  # as our own hints have it

MONGODB = r"mongodb(?:\+srv)?:/*+"  # possessive: `mongodb://***@` must not be read with one slash less
SECRET_OPTION = r"[\w.%-]*(?:passw|pwd|properties|token|secret|credential)[\w.%-]*="
RULES = (
    # A password may hold anything, spaces too: all up to the last @ of the line, or to the next such URL.
    (rf"({MONGODB})(?!{re.escape(GONE)}@|{EXAMPLE}@)(?:(?!\s\S{{0,99}}{MONGODB}).){{0,2000}}@", rf"\1{GONE}@"),
    # The same in the encoding of a URL that stands within another.
    (r"(mongodb(?:(?:\+|%2B)srv)?%3A%2F%2F)\S{0,1000}%40", rf"\1{GONE}%40"),
    # Pages of the web: an @ of their path is none of ours.
    (r"(https?://)[^\s/?#]{0,1000}@", rf"\1{GONE}@"),
    # Any other scheme.
    (rf"(?<!http)(?<!https)(://)(?!{EXAMPLE}@[^\s@]*(?:\s|$))\S{{0,1000}}@", rf"\1{GONE}@"),
    # No scheme: name:password@host.
    (r"(?<![^\s'\"=(,;\[])[^\s:@'\"=(,;\[]+:(?!//)\S{0,1000}@(?=[\w\[])", f"{GONE}@"),
    # A URL that was cut off before its @: what follows the colon is no port.
    (
        rf"({MONGODB}[^\s@/:,'\"\[{{$]+:)(?!PORT\b|PASSWORD@|\d+(?!\w)|{re.escape(GONE)})[^\s@'\"]+",
        rf"\1{GONE}",
    ),
    # An option, and all that follows it, because its value may hold an & or a space.
    (rf"([?&;]{SECRET_OPTION})(?!{re.escape(GONE)})[^'\"\n]*", rf"\1{GONE}"),
)
COMPILED = tuple((re.compile(pattern, re.IGNORECASE), shown) for pattern, shown in RULES)
HINTS = re.compile(
    r"@|%40|[?&;][^\s=]{0,99}=|mongodb", re.IGNORECASE
)  # what a text with a secret has, quick to look for


def hidden(text: str) -> str:
    """Return a text with every secret in it replaced by ***; a text that is hidden already stays as it is."""
    if not HINTS.search(text):
        return text
    for pattern, shown in COMPILED:
        text = pattern.sub(shown, text)
    return text


def hidden_in(value: Any) -> Any:
    """Return a value made of dictionaries, lists and texts with every text in it hidden."""
    if isinstance(value, str):
        return hidden(value)
    if isinstance(value, Mapping):
        return {key: hidden_in(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [hidden_in(item) for item in value]
    return value
