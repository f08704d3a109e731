"""Where processes can be reached, and what those of Ray answer there."""

import ipaddress
import socket
from collections.abc import Iterable

import grpc
import psutil

from tandem.cluster.addresses import NO_PROXY

METHODS = (  # what has programs run, moves their data or tells of them; one at least for every server that Ray has
    "NodeInfoGcsService/CheckAlive", "InternalKVGcsService/InternalKVGet", "NodeManagerService/RequestWorkerLease",
    "CoreWorkerService/PushTask", "ObjectManagerService/Pull", "ObjectManagerService/Push",
)  # fmt: skip


def listening(processes: Iterable[psutil.Process]) -> dict[tuple[str, int], str]:
    """Return the addresses (IP, port) at which processes listen, with the processes' names."""
    return {
        (one.laddr.ip, one.laddr.port): process.name()
        for process in processes
        for one in process.net_connections(kind="tcp")
        if one.status == psutil.CONN_LISTEN
    }


def is_loopback(ip: str) -> bool:
    found = ipaddress.ip_address(ip)
    return (getattr(found, "ipv4_mapped", None) or found).is_loopback


def outer_addresses() -> list[str]:
    """Return the addresses under which other machines reach this one."""
    found = {one.address for all_of in psutil.net_if_addrs().values() for one in all_of if one.family == socket.AF_INET}
    return sorted(ip for ip in found if not is_loopback(ip))


def says(ip: str, port: int, method: str, token: str) -> str:
    """Return the name of the status with which a server of Ray's answers who has this token, or none."""
    sent = [("authorization", f"Bearer {token}")] if token else []
    with grpc.insecure_channel(f"{ip}:{port}", options=NO_PROXY) as channel:
        try:
            channel.unary_unary(f"/ray.rpc.{method}")(b"", timeout=10.0, metadata=sent)
        except grpc.RpcError as error:
            return error.code().name
    return "OK"


def assert_kept_to_themselves(processes: Iterable[psutil.Process]) -> None:
    """Ray's processes listen on the loopback device alone, and its head answers nobody without a token."""
    found = listening(processes)
    assert [place for place in found if not is_loopback(place[0])] == []
    (port,) = [port for (_, port), name in found.items() if name == "gcs_server"]
    assert says("127.0.0.1", port, METHODS[0], "") == "UNAUTHENTICATED"
