"""Clusters that others have started: their address, and whether they accept this user's token and no other."""

import re

import grpc

from tandem.cluster.authentication import HOW, NoCluster, given_token

SECONDS_TO_ANSWER = 5.0  # Ray itself would try for 20, and then say no more than that it has failed
ALIVE = "/ray.rpc.NodeInfoGcsService/CheckAlive"  # any cluster answers this, about no node at all
HOST_PORT = re.compile(r"(\[[\w:.%]+\]|[^\s:/\[\]]+):\d{1,5}")
NO_PROXY = [("grpc.enable_http_proxy", 0)]


def find(address: str) -> str:
    """Return a cluster's address, HOST:PORT, after a check that it can be joined.

    Args:
      address: HOST:PORT, or `auto`: what RAY_ADDRESS says, or else the cluster of this machine.

    Raises:
      NoCluster: it cannot be joined; the message says why in one sentence.
    """
    try:
        token, source = given_token()
        place = resolved(address)
        check(place, token, source)
    except NoCluster as error:
        raise NoCluster(f"{address}: cannot join this cluster: {error}") from None
    return place


def check(place: str, token: str, source: str) -> None:
    """Raise if Ray does not answer at HOST:PORT, refuses this user's token, or accepts any token."""
    if answer(place) is grpc.StatusCode.OK:
        raise NoCluster(f"anybody who can reach it can run programs there; start it with a token: {HOW}")
    given = answer(place, token)
    if given is grpc.StatusCode.UNAUTHENTICATED:
        raise NoCluster(f"it refuses the token of {source}; use the cluster's own token")
    if given is not grpc.StatusCode.OK:
        how = given.name.lower().replace("_", " ")
        raise NoCluster(f"no Ray answers there ({how}); is `ray start --head` running?")


def resolved(address: str) -> str:
    """Return HOST:PORT of an address in Ray's form."""
    from ray._private import services

    if address != "auto" and not HOST_PORT.fullmatch(address):
        raise NoCluster("expected HOST:PORT, or auto for the cluster of this machine")
    try:
        place = services.canonicalize_bootstrap_address(address)
    except (OSError, RuntimeError, ValueError) as error:
        raise NoCluster((str(error).splitlines() or ["no address"])[0]) from None
    if not place:
        raise NoCluster("no Ray runs on this machine")
    return place


def answer(place: str, token: str = "") -> grpc.StatusCode:
    """Return how a cluster answers who has this token, or none."""
    sent = [("authorization", f"Bearer {token}")] if token else []
    with grpc.insecure_channel(place, options=NO_PROXY) as channel:
        try:
            channel.unary_unary(ALIVE)(b"", timeout=SECONDS_TO_ANSWER, metadata=sent)
        except grpc.RpcError as error:
            return error.code()
    return grpc.StatusCode.OK
