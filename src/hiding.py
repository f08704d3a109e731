"""Hides secrets in texts. Everything that is printed, stored or sent goes through `hidden`.

A secret is the user and password of a URL, even if it is mistyped, and every option of a URL that contains one. If the
end of a password is unclear, too much is hidden rather than too little. Each match has a bounded length, because the
time would otherwise grow with the square of a text without spaces.
"""

import re
from collections.abc import Mapping
from typing import Any

GONE = "***"
EXAMPLE = "USER:PASSWORD"  # the form in Tandem's own hints

MONGODB = r"mongodb(?:\+srv)?:/*+"  # possessive: `mongodb://***@` must not be read with one slash less
SECRET_OPTION = r"[\w.%-]*(?:passw|pwd|properties|token|secret|credential)[\w.%-]*="
RULES = (
    # A password may contain anything, even spaces, so this goes to the last @ of the line, or to the next such URL.
    (rf"({MONGODB})(?!{re.escape(GONE)}@|{EXAMPLE}@)(?:(?!\s\S{{0,99}}{MONGODB}).){{0,2000}}@", rf"\1{GONE}@"),
    # The same in the encoding of a URL that stands within another.
    (r"(mongodb(?:(?:\+|%2B)srv)?%3A%2F%2F)\S{0,1000}%40", rf"\1{GONE}%40"),
    # Web pages, in whose path an @ is no sign of a password.
    (r"(https?://)[^\s/?#]{0,1000}@", rf"\1{GONE}@"),
    # Any other scheme.
    (rf"(?<!http)(?<!https)(://)(?!{EXAMPLE}@[^\s@]*(?:\s|$))\S{{0,1000}}@", rf"\1{GONE}@"),
    # No scheme: name:password@host.
    (r"(?<![^\s'\"=(,;\[])[^\s:@'\"=(,;\[]+:(?!//)\S{0,1000}@(?=[\w\[])", f"{GONE}@"),
    # A URL that was cut off before its @, because no port follows the colon.
    (
        rf"({MONGODB}[^\s@/:,'\"\[{{$]+:)(?!PORT\b|PASSWORD@|\d+(?!\w)|{re.escape(GONE)})[^\s@'\"]+",
        rf"\1{GONE}",
    ),
    # An option, and all that follows it, because its value may hold an & or a space.
    (rf"([?&;]{SECRET_OPTION})(?!{re.escape(GONE)})[^'\"\n]*", rf"\1{GONE}"),
)
COMPILED = tuple((re.compile(pattern, re.IGNORECASE), shown) for pattern, shown in RULES)
HINTS = re.compile(r"@|%40|[?&;][^\s=]{0,99}=|mongodb", re.IGNORECASE)  # quick test for texts that may contain a secret


def hidden(text: str) -> str:
    """Return a text with every secret in it replaced by ***; a text without secrets stays unchanged."""
    if not HINTS.search(text):
        return text
    for pattern, shown in COMPILED:
        text = pattern.sub(shown, text)
    return text


def hidden_in(value: Any) -> Any:
    """Return a value of dictionaries, lists and texts with secrets hidden in every text."""
    if isinstance(value, str):
        return hidden(value)
    if isinstance(value, Mapping):
        return {key: hidden_in(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [hidden_in(item) for item in value]
    return value
