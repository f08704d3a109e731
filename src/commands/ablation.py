"""`python src/main.py ablation FILE.yaml`: trains variants on environments with several seeds, batch
after batch, and compares them.
"""

from collections.abc import Sequence
from pathlib import Path

from tandem.commands import flags
from tandem.experiments import ablation, batch

DESCRIPTION = """Train each variant in FILE.yaml on each environment with each seed; --report compares the runs.

Each variant on each environment is a batch of seeds. If you call the command again, it skips finished seeds and
resumes interrupted ones. FILE.yaml has this form:

  name: heads                        # what the ablation is called
  seeds: 3                           # as for batch: a count, a list (1,4,7) or a range (2-5)
  settings: {max_minutes: 5}         # of all runs
  environments:
    spread: {env_config: mpe, settings: {env_args: {num_agents: 5}}}
  variants:
    attention: {config: mazero_seq, settings: {network_args: {policy_head: attention}}}
  report: {metric: eval/policy/return, x: time}   # of compare; may be left out

A variant's name labels its runs. Its settings override the environment's, which override the settings of all runs."""
EXAMPLE = """examples:
  python src/main.py ablation src/config/ablations/heads.yaml --dry-run
  python src/main.py ablation src/config/ablations/heads.yaml
  python src/main.py ablation src/config/ablations/heads.yaml --report
  python src/main.py ablation src/config/ablations/heads.yaml with results_dir=elsewhere"""


def main(words: Sequence[str]) -> int:
    """Run the command and return the exit status: 0 all seeds are finished (or reported
    on), 1 not all, 130 interrupted.
    """
    given, results = parser().read_place(words)
    jobs = batch.asked_jobs(given.jobs)
    plan = ablation.read(Path(given.file), given.seeds, results)
    configs = [ablation.checked(cell, builds=not given.report) for cell in plan.cells]
    if given.report:
        ablation.report(plan, configs, Path(results))
    elif given.dry_run:
        print("\n".join(ablation.typed(plan, cell, given.jobs) for cell in plan.cells))
    else:
        return ablation.run(plan, jobs)
    return batch.OK


def parser() -> flags.Parser:
    own = flags.parser("ablation", DESCRIPTION)
    own.epilog = EXAMPLE
    own.add_argument("file", metavar="FILE.yaml", type=flags.path, help="file with the variants and the environments")
    own.take("--seeds", help="overrides the seeds in the file")
    own.take("--jobs")
    own.add_argument("--report", action="store_true", help="train nothing; compare the recorded runs")
    own.add_argument("--dry-run", action="store_true", help="check all configurations and print the batches")
    own.take("--results-dir")
    return own
