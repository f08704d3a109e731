"""The sizes of a run for parts that are made without a runner."""

from tandem.core import EnvSpec, RunPlan


def run_plan(spec: EnvSpec, discount: float, total_updates: int = 50, num_envs: int = 6, **changes) -> RunPlan:
    """Return a plan of a run that is long enough for whatever is made for it."""
    sizes = {"total_steps": 10_000, "rollout_length": 8, "on_policy": False, "clock": "environment steps"} | changes
    return RunPlan(spec=spec, discount=discount, total_updates=total_updates, num_envs=num_envs, **sizes)
