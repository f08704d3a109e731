"""What surrounds the actors of a run: what their processes are told, how Ray is ended."""

from src.runners import ray_cluster


def test_actors_of_a_cluster_with_tokens_are_told_of_them_and_all_others_that_there_are_none(monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    assert ray_cluster.actor_environment(3)["RAY_AUTH_MODE"] == "token"
    monkeypatch.delenv("RAY_AUTH_MODE")
    told = ray_cluster.actor_environment(3)
    assert told["RAY_AUTH_MODE"] == "disabled" and told.items() >= ray_cluster.QUIET.items()
