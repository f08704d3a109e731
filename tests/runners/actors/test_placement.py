"""What the processes of a run's actors are told."""

import os

from tandem.runners.actors import placement


def test_actors_find_src_and_are_told_nothing_of_tokens(monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "a secret")
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    told = placement.actor_environment(3)
    assert not any("AUTH" in name for name in told)  # Ray writes down what it is to tell them
    assert told["NPROC"] == "3" and told["PYTHONPATH"].split(os.pathsep) == [os.getcwd(), "/somewhere"]
