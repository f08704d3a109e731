"""The runs of a seed batch: the requested seeds, and the recorded runs of each."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tandem.records import runs
from tandem.analysis.identity import as_asked, fingerprint, without_seed
from tandem.config import loader
from tandem.config.commandline import UsageError
from tandem.config.values import shown
from tandem.records import series
from tandem.registry import FAMILIES

DONE = "COMPLETED"  # Sacred's word
BOUND = 2**31 - 1
MOST_SEEDS = 10_000


def parse(text: str) -> list[int]:
    """Return the seeds that "3" (1, 2 and 3), "1,4,7", "2-5" or a mixture ("1,4-6") names.

    Raises:
      UsageError: the text has none of these forms.
    """
    if not re.fullmatch(r"N(-N)?(,N(-N)?)*,?".replace("N", "[0-9]{1,20}"), text):
        raise UsageError(f"seeds {shown(text)}: expected a count (3), a list (1,4,7) or a range (2-5)")
    ends = [[int(end) for end in part.split("-")] for part in text.split(",") if part]
    ranges = [range(1, ends[0][0] + 1)] if text.isdigit() else [range(part[0], part[-1] + 1) for part in ends]
    if max(part[-1] for part in ends) > BOUND and not text.isdigit():
        raise UsageError(f"seeds {shown(text)}: a seed is at most {BOUND}")
    if not 0 < sum(part.stop - part.start for part in ranges if part.stop > part.start) <= MOST_SEEDS:
        raise UsageError(f"seeds {shown(text)}: no seed among them, or more than {MOST_SEEDS:,}")
    return list(dict.fromkeys(seed for part in ranges for seed in part))


@dataclasses.dataclass(frozen=True)
class Batch:
    """One configuration with several seeds, and the folder of its logs."""

    config: Mapping[str, Any]  # checked, of any seed
    seeds: Sequence[int]

    @property
    def results(self) -> Path:
        return Path(self.config["results_dir"])

    @property
    def logs(self) -> Path:
        """The folder of this configuration; other settings have another."""
        return self.results / "batches" / f"{self.config['name']}-{fingerprint(without_seed(self.config))}"

    def log(self, seed: int) -> Path:
        return self.logs / f"seed-{seed}.log"

    def recorded(self) -> dict[int, runs.StoredRun]:
        """Return the relevant run of each seed that has one: the last finished one, else the last one."""
        wanted = {fingerprint({**self.config, "seed": seed}): seed for seed in self.seeds}
        found: dict[int, runs.StoredRun] = {}
        for run_id in runs.ids(self.results):
            try:
                run = runs.find(run_id, self.results)
            except ValueError:  # the folder is just being created, or incomplete
                continue
            seed = wanted.get(fingerprint(as_asked(run.config, self.config)))
            if seed is None:
                seed = wanted.get(self._filled_in(run) or "")
            if seed is not None and (seed not in found or found[seed].status != DONE or run.status == DONE):
                found[seed] = run
        return found

    def _filled_in(self, run: runs.StoredRun) -> str | None:
        """Return the fingerprint of a run as it would be recorded today, with newer settings filled in."""
        if any(run.config.get(family) != self.config.get(family) for family in FAMILIES):
            return None  # other parts make another experiment, so they need not be loaded
        try:
            config = loader.stored(run.config, str(run.folder / "config.json"))
        except UsageError:  # one of its settings no longer exists
            return None
        return fingerprint(as_asked(config, self.config))


def last_values(run: runs.StoredRun) -> dict[str, float]:
    """Return the last value of every metric of a run, and its last step as "env_step"."""
    try:
        found = series.of(run.folder)
    except (OSError, ValueError):
        return {}
    steps = [points.steps[-1] for points in found.values() if points]
    values = {name: points.values[-1] for name, points in found.items() if points}
    return values | ({"env_step": max(steps)} if steps else {})
