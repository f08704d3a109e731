"""Strict YAML files: a plain value means the same as on the command line, and no key may appear twice.

PyYAML follows YAML 1.1, which reads 012 as ten, 1:30 as ninety, 1e5 as text and yes as True, and uses the last of two
equal keys. Here numbers are decimal, as in YAML 1.2. The rest is text, which the check of a number refuses.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tandem.config import yaml_errors
from tandem.config.values import plain, shown

MOST_BYTES = 1_000_000
MOST_NODES, MOST_LEVELS = 100_000, 20
PREFIX = "tag:yaml.org,2002:"
PLAIN = {  # tag: (pattern, first characters)
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "null": (r"~|null|Null|NULL|None|", ["~", "n", "N", ""]),
    "int": (r"[-+]?(0|[1-9](_?[0-9])*)", "-+0123456789"),
    "float": (
        r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
        r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
    "merge": (r"<<", "<"),
}


class Unreadable(ValueError):
    """A file cannot be used; `str` says why and follows the file's name."""


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the rules above for plain values; it refuses keys that appear twice."""

    yaml_implicit_resolvers: dict[str, list] = {}

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                line = key.start_mark.line + 1
                if key.value in lines:
                    first = f"first in line {lines[key.value]}"
                    raise Unreadable(f"line {line}: {shown(key.value)} is written twice, {first}; keep one")
                lines[key.value] = line
        return node


class _Dumper(yaml.SafeDumper):
    """PyYAML's safe dumper, which also quotes text that only `_Loader` would read as another value."""


def _int(loader: _Loader, node: yaml.ScalarNode) -> int | str:
    try:
        return int(node.value)
    except ValueError:  # for thousands of digits, or a tag that does not fit
        return node.value


def _float(loader: _Loader, node: yaml.ScalarNode) -> float | str:
    try:
        return float(node.value.lower().replace(".inf", "inf").replace(".nan", "nan"))
    except ValueError:
        return node.value


for _tag, (_pattern, _first) in PLAIN.items():
    _Loader.add_implicit_resolver(PREFIX + _tag, re.compile(f"(?:{_pattern})$"), list(_first))
    _Dumper.add_implicit_resolver(PREFIX + _tag, re.compile(f"(?:{_pattern})$"), list(_first))
_Loader.add_constructor(f"{PREFIX}int", _int)
_Loader.add_constructor(f"{PREFIX}float", _float)


def read(path: Path) -> Any:
    """Return the content of a file.

    Raises:
      Unreadable: it cannot be read, is not UTF-8 or not YAML, or has a key twice.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise Unreadable(
                f"cannot be read: it is larger than {MOST_BYTES:,} bytes, so it cannot be a file of settings"
            )
        content = yaml.load(path.read_bytes().decode("utf-8-sig"), _Loader)
        _check(content)
        return content
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise Unreadable(f"cannot be read: it is not UTF-8 text (byte {error.start + 1})") from None
    except Unreadable:
        raise
    except RecursionError:
        raise Unreadable("cannot be read: it is nested too deeply") from None
    except yaml.YAMLError as error:
        raise Unreadable(f"not valid YAML: {yaml_errors.said(error)}") from None
    except (ValueError, TypeError, AttributeError, LookupError) as error:  # raised for odd tags
        raise Unreadable(f"not valid YAML: {' '.join(str(error).split())}") from None


def dump(content: Mapping[str, Any]) -> str:
    """Return YAML that `read` reads back as the same settings, in their order."""
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def _check(content: Any) -> None:
    """Raise for values that no setting has, and for too many values: a few anchors (&a, *a) can expand to billions."""
    nodes, layer = 0, [content]
    for _ in range(MOST_LEVELS):
        layer = [item for held in layer for item in _inside(held)]
        nodes += len(layer)
        if not layer or nodes > MOST_NODES:
            break
    if layer:
        raise Unreadable(f"cannot be read: it has more than {MOST_NODES:,} values, or more than {MOST_LEVELS} levels")
    if not plain(content):
        raise Unreadable("cannot be read: a value must be a number, text, true, false, null, a list or a mapping")


def _inside(held: Any) -> list[Any]:
    """Return the values one level below a value."""
    return list(held.values()) if isinstance(held, Mapping) else held if isinstance(held, list) else []
