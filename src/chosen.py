"""The parts that a configuration names, with their settings."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from tandem.config import schema
from tandem.config.loader import ConfigError
from tandem.core import RunPlan
from tandem.registry import Entry, find


class Chosen:
    """The named parts of a configuration and their settings; error messages name the part."""

    def __init__(self, config: Mapping[str, Any], families: Iterable[str]):
        self.config = config
        self.entries: dict[str, Entry] = {family: find(family, config[family]) for family in families}
        self.settings = {
            family: schema.build(entry.config(), config[f"{family}_args"]) for family, entry in self.entries.items()
        }

    def make(self, family: str, *args: Any, **kwargs: Any) -> Any:
        try:
            return self.entries[family].make(self.settings[family], *args, **kwargs)
        except ValueError as error:
            raise ConfigError([f"{family} '{self.config[family]}': {error}"]) from error
        except ImportError as error:
            if str(error.name).startswith("tandem"):
                raise  # a mistake of Tandem, not of the user
            raise ConfigError([f"{family} '{self.config[family]}' cannot be loaded: {error}"]) from error

    def hook(self, family: str, name: str) -> Any:
        return partial(self.entries[family].hook(name), self.settings[family])

    def problems(self, plan: RunPlan) -> list[str]:
        return [text for family, entry in self.entries.items() for text in entry.problems(self.settings[family], plan)]
