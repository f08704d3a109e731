"""Finds the trackers in a configuration, and checks that they can be used, before anything is computed."""

import importlib.util
import re
from collections.abc import Mapping
from typing import Any

from tandem.config.commandline import UsageError
from tandem.config.writable import problem_of_file
from tandem.hiding import GONE, hidden
from tandem.records.mlflow_tracker import Mlflow
from tandem.records.tracking import Tracker
from tandem.records.wandb_tracker import Wandb

WANDB, MLFLOW = "wandb_project", "mlflow_uri"
STORES = "sqlite:///FILE.db, http://HOST:PORT, or another database's address"
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")


def chosen(config: Mapping[str, Any], names: Mapping[str, str] = {WANDB: WANDB, MLFLOW: MLFLOW}) -> list[Tracker]:
    """Return the trackers of a configuration, without starting them or importing their packages.

    Args:
      names: of the settings in messages.

    Raises:
      UsageError: a package is not installed, or MLflow cannot write to the store.
    """
    found: list[Tracker] = []
    if project := config.get(WANDB):
        _need(f"{names[WANDB]}={project}", ["wandb"], "wandb")
        if not re.fullmatch(r"[\w.-]{1,128}", project):
            raise UsageError(f"{names[WANDB]}={project}: letters, digits, '.', '_' and '-'")
        found.append(Wandb(project))
    if uri := config.get(MLFLOW):
        _check_store(names[MLFLOW], uri)
        found.append(Mlflow(uri))
    return found


def _check_store(name: str, uri: str) -> None:
    given = f"{name}={hidden(uri)}"
    if GONE in uri:
        raise UsageError(
            f"{given}: credentials are not stored with a run; give the whole address again: with {name}=URI"
        )
    scheme, separator, rest = uri.partition("://")
    if not separator or scheme == "file":
        raise UsageError(f"{given}: MLflow no longer writes plain folders; choose {STORES}")
    kind = scheme.partition("+")[0]
    _need(given, ["mlflow", *(["sqlalchemy", "alembic"] if kind in DATABASES else [])], "mlflow-skinny")
    if kind == "sqlite" and (said := problem_of_file(rest.removeprefix("/"))):
        raise UsageError(f"{name}={said}")


def _need(given: str, modules: list[str], package: str) -> None:
    lacking = [name for name in modules if importlib.util.find_spec(name) is None]
    if lacking:
        wanted = " ".join(dict.fromkeys([package if name in ("wandb", "mlflow") else name for name in lacking]))
        raise UsageError(f"{given}: {', '.join(lacking)} is not installed; install it: pip install {wanted}")
