"""Clusters that others have started: which can be joined, and what is said of others. A server
answers as Ray's does.
"""

from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from tandem.cluster import addresses, authentication
from tandem.cluster.authentication import NoCluster


@pytest.fixture
def cluster():
    """Return a function that starts a cluster for one token, or for anybody if it is empty, and gives its address."""
    servers = []

    def begin(token: str) -> str:
        def check_alive(request, context):
            if token and ("authorization", f"Bearer {token}") not in context.invocation_metadata():
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "InvalidAuthToken")
            return b""

        service, _, method = addresses.ALIVE[1:].partition("/")
        handlers = {method: grpc.unary_unary_rpc_method_handler(check_alive)}
        servers.append(grpc.server(ThreadPoolExecutor(1)))
        servers[-1].add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        port = servers[-1].add_insecure_port("127.0.0.1:0")
        servers[-1].start()
        return f"127.0.0.1:{port}"

    yield begin
    for server in servers:
        server.stop(None).wait()


@pytest.fixture(autouse=True)
def no_token(monkeypatch, tmp_path):
    """An environment without any token, and a home folder of the test's own."""
    for name in (authentication.MODE, authentication.TOKEN, authentication.TOKEN_PATH, "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(addresses, "resolved", lambda address: address)  # Ray would take the outer address
    return tmp_path


def refusal(address: str) -> str:
    with pytest.raises(NoCluster) as told:
        addresses.find(address)
    text = str(told.value)
    assert text.startswith(f"{address}: cannot join this cluster: ") and "\n" not in text
    return text


@pytest.mark.parametrize("place", ["variable", "path", "home"])
def test_a_cluster_is_joined_with_its_token_from_wherever_ray_looks(cluster, monkeypatch, tmp_path, place):
    address, path = cluster("right"), tmp_path / (".ray/auth_token" if place == "home" else "elsewhere")
    path.parent.mkdir(exist_ok=True)
    path.write_text("right\n")
    if place == "variable":
        monkeypatch.setenv(authentication.TOKEN, "right")
    elif place == "path":
        monkeypatch.setenv(authentication.TOKEN_PATH, str(path))
    assert addresses.find(address) == address


def test_a_missing_token_is_told_with_the_places_where_it_may_be_and_how_one_is_made(cluster, tmp_path):
    text = refusal(cluster("right"))
    assert str(tmp_path / ".ray" / "auth_token") in text
    assert all(word in text for word in ("token is missing", "RAY_AUTH_TOKEN", "ray get-auth-token --generate"))
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_bytes(b"\n")
    assert "token is missing" in refusal(cluster("right"))
    (tmp_path / ".ray" / "auth_token").write_bytes(b"\xff")
    assert "token is missing" in refusal(cluster("right"))


def test_another_clusters_token_is_told_with_the_place_where_it_was_found_and_never_shown(cluster, monkeypatch):
    monkeypatch.setenv(authentication.TOKEN, "sesame-of-another")
    text = refusal(cluster("right"))
    assert "refuses the token of RAY_AUTH_TOKEN;" in text and "sesame" not in text


def test_a_cluster_that_lets_anybody_in_is_not_joined(cluster, monkeypatch):
    monkeypatch.setenv(authentication.TOKEN, "right")
    assert "anybody who can reach it can run programs" in refusal(cluster(""))
    monkeypatch.setenv(authentication.MODE, "disabled")
    assert "RAY_AUTH_MODE=disabled" in refusal(cluster("right"))


def test_an_address_where_no_ray_answers_is_told_so_at_once(monkeypatch):
    monkeypatch.setenv(authentication.TOKEN, "right")
    assert "no Ray answers there (unavailable)" in refusal("127.0.0.1:9")
    monkeypatch.undo()
    monkeypatch.setenv(authentication.TOKEN, "right")
    for address in ("nowhere", "host:port", "local", "ray://127.0.0.1:9", "http://host:1", "127.0.0.1:9 ", ":9"):
        assert "expected HOST:PORT" in refusal(address), address
    for address in ("127.0.0.1:0", "127.0.0.1:99999", "no.such.host.invalid:6379"):
        assert "no Ray answers there" in refusal(address), address
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    assert "no Ray answers there" in refusal("auto")  # where RAY_ADDRESS says
