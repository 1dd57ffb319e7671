"""Which schedulers may be spoken to: whoever reaches one runs code on every worker, as its user."""

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from export.errors import BadInput

ENCRYPTED, PLAIN = ("tls", "wss"), ("tcp", "ws")


@dataclass(frozen=True)
class Certificates:
    """Who we are, and whom we trust; what is None is taken from Dask's own configuration."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    def __post_init__(self) -> None:
        """Refuse what is not there.

        Raises:
            BadInput: a file is missing.
        """
        for name in ("ca", "cert", "key"):
            path = getattr(self, name)
            if path is not None and not path.is_file():
                raise BadInput(f"--tls-{name} is no file", str(path), "see docs/fleet.md for how certificates are made")


def require_safe(address: str, *, insecure: bool) -> str:
    """The address with its scheme, if what is sent there can be neither read nor forged on the way.

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
        do = "use tls:// or an SSH tunnel (docs/fleet.md), or, in a network that is yours alone, --insecure"
        raise BadInput("a plain connection to another machine is refused", address, do)
    return f"{scheme}://{place.rstrip('/')}"


def checked(address: str | None, *, insecure: bool) -> str | None:
    """The same where there may be none.

    Raises:
        BadInput: see ``require_safe``.
    """
    return None if address is None else require_safe(address, insecure=insecure)


def is_loopback(host: str) -> bool:
    """Whether what is sent there never leaves this machine. Names are not looked up: they can change."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
