"""Where processes can be reached."""

import ipaddress
import socket
from collections.abc import Iterable

import psutil


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
