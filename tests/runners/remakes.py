"""What actors of the tests are made of; importable by name, as an actor's process needs it."""

import os
import signal
import subprocess
from functools import partial

from tandem.core import Acting, Planner
from tandem.envs import matrix_game
from tests.reference import dream_runs, small_runs
from tests.reference.host_games import OnHost, Troubled, crash, hang
from tests.runners.counting import make_env, make_planner, make_still_planner


def planner() -> Planner:
    return make_planner(version=lambda params: params["updates"])


def players() -> dict[str, Planner]:
    return {"search": planner(), "policy": make_still_planner()}


def compiled() -> Acting:
    return Acting(partial(make_env, shared=False), False, planner(), players())


def on_host(marks: str = "") -> Acting:
    """Return the counting game as a program; with a folder to count in, the first three of them that
    are played fail.
    """
    env = make_env(shared=False)
    return Acting(lambda: _troubled(env, marks) if marks else OnHost(env), True, planner(), players())


def _troubled(env, marks: str) -> OnHost:
    number = len(os.listdir(marks))  # the very first is made for its spec alone
    path = os.path.join(marks, str(number))
    open(path, "w").close()
    return WithProgram(env, path, *{1: (23, die), 2: (7, crash), 3: (10, hang)}.get(number, (0, crash)))


class WithProgram(Troubled):
    """An environment that has a program running, as games do; its number is written to a file."""

    def __init__(self, env, path: str, when: int, trouble):
        super().__init__(env, when, trouble)
        self.path, self.program = path, None

    def reset(self, seed):
        if self.program is None:
            self.program = subprocess.Popen(["sleep", "3600"])
            with open(self.path, "w") as file:
                file.write(str(self.program.pid))
        return super().reset(seed)

    def close(self) -> None:
        super().close()
        self.program.kill()
        self.program.wait()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def climbing() -> Acting:
    parts = small_runs.parts("plies", matrix_game.Config())
    return Acting(lambda: parts["env"], False, parts["planner"], parts["players"])


TWO_STEP, DREAMT_STEPS = matrix_game.Config(scenario="two_step"), 768


def dreaming_parts() -> dict:
    return dream_runs.parts(TWO_STEP, DREAMT_STEPS, min_size=128, warmup_updates=4, starts=8)


def dreaming() -> Acting:
    parts = dreaming_parts()
    return Acting(lambda: parts["env"], False, parts["planner"], parts["players"])
