"""Validate a scheduler's address: anyone who reaches a scheduler can run code on every worker."""

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

from export.common.errors import BadInput

ENCRYPTED, PLAIN = ("tls", "wss"), ("tcp", "ws")


@dataclass(frozen=True)
class Certificates:
    """Files for TLS; what is None is taken from Dask's own configuration."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    def __post_init__(self) -> None:
        """Check that the files are there.

        Raises:
            BadInput: a file is missing.
        """
        for name in ("ca", "cert", "key"):
            path = getattr(self, name)
            if path is not None and not path.is_file():
                raise BadInput(f"--tls-{name} is no file", str(path), "see docs/how-to/fleet.md")


@dataclass(frozen=True)
class Scheduler:
    """A Dask scheduler, and how long a job waits for a worker that may do it."""

    address: str
    certificates: Certificates = field(default_factory=Certificates)
    wait_s: float = 60.0


def require_safe(address: str, *, insecure: bool) -> str:
    """Return the address with its scheme, if what is sent there can be neither read nor forged on the way.

    Raises:
        BadInput: no address, or a plain one of another machine without ``insecure``.
    """
    scheme, found, place = address.partition("://")
    if not found:
        scheme, place = "tcp", address
    host, colon, port = place.rstrip("/").rpartition(":")
    if scheme not in ENCRYPTED + PLAIN or not (colon and host and port.isascii() and port.isdigit()):
        raise BadInput("this is no scheduler's address", address, "give one such as tls://scheduler.lan:8786")
    if scheme in PLAIN and not insecure and not is_loopback(host):
        do = "use tls:// or an SSH tunnel (docs/how-to/fleet.md), or, in a network that is yours alone, --insecure"
        raise BadInput("a plain connection to another machine is refused", address, do)
    return f"{scheme}://{place.rstrip('/')}"


def is_loopback(host: str) -> bool:
    """Return whether the host is this machine. Names are not looked up: they can change."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
