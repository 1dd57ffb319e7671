"""The address of a Dask scheduler: whoever reaches a scheduler can run code on every worker."""

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from export.common.errors import BadInput

ENCRYPTED, PLAIN = ("tls", "wss"), ("tcp", "ws")


@dataclass(frozen=True)
class Scheduler:
    """A Dask scheduler, and the time for which a job waits for a worker."""

    address: str
    """As ``require_safe`` returns it."""
    ca: Path | None = None
    """Certificate files for TLS; None: from Dask's own configuration."""
    cert: Path | None = None
    key: Path | None = None
    wait_s: float = 60.0

    def __post_init__(self) -> None:
        """Check that the certificate files exist.

        Raises:
            BadInput: a file is missing.
        """
        for name, path in (("ca", self.ca), ("cert", self.cert), ("key", self.key)):
            if path is not None and not path.is_file():
                raise BadInput(f"--tls-{name} is not a file", str(path), "see docs/how-to/fleet.md")


def require_safe(address: str, *, insecure: bool) -> str:
    """Return the address with its scheme, if the connection is encrypted or stays on this machine.

    Raises:
        BadInput: not an address, or a plain one of another machine without ``insecure``.
    """
    scheme, separator, place = address.partition("://")
    if not separator:
        scheme, place = "tcp", address
    host, colon, port = place.rstrip("/").rpartition(":")
    if scheme not in ENCRYPTED + PLAIN or not (colon and host and port.isascii() and port.isdigit()):
        raise BadInput("not a scheduler's address", address, "give an address such as tls://scheduler.lan:8786")
    if scheme in PLAIN and not insecure and not is_loopback(host):
        advice = "use tls:// or an SSH tunnel (docs/how-to/fleet.md); --insecure allows it in a private network"
        raise BadInput("a plain connection to another machine is refused", address, advice)
    return f"{scheme}://{place.rstrip('/')}"


def is_loopback(host: str) -> bool:
    """Return whether the host is this machine. Names are not looked up: they can change."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
