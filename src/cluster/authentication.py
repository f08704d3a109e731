"""Ray's tokens: its processes refuse requests without the right one. A run that starts Ray makes its own."""

import os
import secrets
from functools import partial
from pathlib import Path

from tandem.core import RunError

MODE, TOKEN, TOKEN_PATH = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
HOME_PATH = "~/.ray/auth_token"  # where Ray itself looks last
HOW = (
    "run `ray get-auth-token --generate` on one machine, copy its ~/.ray/auth_token to all others, and set "
    "RAY_AUTH_MODE=token where `ray start` is called"
)


class NoCluster(RunError):
    """No cluster can be joined."""


def own_token(folder: Path) -> dict[str, str | None]:
    """Write a new token into a folder, and return the environment in which Ray requires it.

    Processes inherit only its path, so a process list or a record never shows the token itself.
    """
    path = folder / "token"
    with open(path, "x", opener=partial(os.open, mode=0o600)) as file:
        file.write(secrets.token_hex(32))
    return {MODE: "token", TOKEN: None, TOKEN_PATH: str(path)}  # Ray would prefer TOKEN to the path


def given_token() -> tuple[str, str]:
    """Return the token for clusters that others have started, and its source; Ray searches the same places.

    Raises:
      NoCluster: there is none.
    """
    if os.environ.get(MODE, "token").lower() != "token":
        raise NoCluster(
            f"{MODE}={os.environ[MODE]} would let anybody who can reach this machine run programs as you; unset it, "
            f"and use a token: {HOW}"
        )
    if token := os.environ.get(TOKEN):
        return token, TOKEN
    path = Path(os.environ.get(TOKEN_PATH) or os.path.expanduser(HOME_PATH))
    try:
        token = path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        token = ""
    if not token:
        raise NoCluster(
            f"Ray's token is missing: {path} has none, and {TOKEN} is not set; take the cluster's token, or if it has "
            f"none, make one: {HOW}"
        )
    return token, str(path)


def refresh() -> None:
    """Make Ray, which reads mode and token once, read them from the environment again.

    This is done before Ray starts and never after it ended, because Ray's threads may still communicate then.
    """
    from ray._raylet import AuthenticationTokenLoader, Config

    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()
