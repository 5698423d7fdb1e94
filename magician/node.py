"""The address of a DICOM peer (`Node`): AE title, host, port, time limits and encryption.

Beside it, the addresses at which a practice PACS of this process has been stopped.
"""

from __future__ import annotations

import errno
import ipaddress
import re
import ssl
from dataclasses import KW_ONLY, dataclass

# The Implementation Class UID (PS3.7 D.3.3.2) by which a practice PACS says what it is
PRACTICE_PACS_UID = "2.25.326037127659195920723275355031353032354"


def require_host(host: str) -> None:
    """Raise `ValueError` if `host` is empty, which would mean every address of this computer."""
    if not host:
        raise ValueError(
            "An empty host would be every address of this computer: write '0.0.0.0' if that is "
            "meant."
        )


def explain_bind_error(error: OSError) -> str:
    """Tell what to do if this computer can't listen on an address, from the error of `bind`."""
    if error.errno == errno.EADDRINUSE:
        return "Stop what uses this port, or choose another: port 0 finds a free one."
    if error.errno == errno.EACCES:
        return "Ports below 1024 are an administrator's: choose a larger one, for instance 11112."
    return "The host must be an address of this computer."


def check_ae_title(title: str) -> str:
    """Return `title` without the spaces around it, which do not count (VR AE, PS3.5 6.2).

    Raises
    ------
    ValueError
        If it is no AE title.
    """
    # some software fills a title up with NUL
    stripped = title.strip(" \0") if isinstance(title, str) else ""
    if not re.fullmatch(r"[\x20-\x5b\x5d-\x7e]{1,16}", stripped):
        raise ValueError(
            f"{title!r} is not an AE title: 1 to 16 plain characters, no backslash, not only "
            f"spaces (PS3.5 6.2)."
        )
    return stripped


def is_loopback(host: str) -> bool:
    """Tell whether `host` is this computer: ``localhost``, 127.x.x.x or ::1.

    Other host names are not looked up.
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True)
class Node:
    """The address of a DICOM peer, and all that is needed to talk to it.

    Parameters
    ----------
    ae_title : str
        The peer's Application Entity title, its name in DICOM. Letter case counts; spaces around
        it do not, and are taken off.
    host : str
        Its host name or IP address, without the spaces around it.
    port : int
        Its TCP port: 104 by tradition, 11112 is registered too (PS3.8 9.1.1), many servers choose
        their own.
    local_ae_title : str
        Our own title. Many PACS talk only to titles that their administrator has entered.
    connect_s, associate_s, dimse_s : float
        The longest time to wait, in seconds: for a TCP connection, for an answer to our association
        request, and for the next answer to a request on the association.
    tls : ssl.SSLContext, optional
        Encrypt the connection with this context (PS3.15 Annex B): see `magician.tls.client_tls`.

    Raises
    ------
    ValueError
        If a title, the host, the port or a time limit is not legal.
    """

    ae_title: str
    host: str
    port: int
    _: KW_ONLY
    local_ae_title: str = "MAGICIAN"
    connect_s: float = 5
    associate_s: float = 10
    dimse_s: float = 120
    tls: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.host, str) or not self.host.strip():
            raise ValueError(f"{self.host!r} is not a host name or an IP address.")
        plain = {
            "ae_title": check_ae_title(self.ae_title),
            "local_ae_title": check_ae_title(self.local_ae_title),
            "host": self.host.strip().removeprefix("[").removesuffix("]"),  # [::1]
        }
        for name, value in plain.items():
            object.__setattr__(self, name, value)  # as a frozen dataclass must
        if type(self.port) is not int or not 1 <= self.port <= 65535:
            raise ValueError(f"{self.port!r} is not a TCP port: a whole number from 1 to 65535.")
        if min(self.connect_s, self.associate_s, self.dimse_s) <= 0:
            raise ValueError("connect_s, associate_s and dimse_s are seconds, each more than 0.")
        if self.tls is not None and self.tls.protocol == ssl.PROTOCOL_TLS_SERVER:
            raise ValueError(
                "tls is a context for the side that listens; a node needs a caller's: "
                "client_tls(...)."
            )

    @classmethod
    def parse(cls, text: str, **keywords) -> Node:
        """Make a node from ``"AET@host:port"``; `keywords` are those of `Node`.

        >>> Node.parse("ORTHANC@127.0.0.1:4242")
        Node('ORTHANC@127.0.0.1:4242', local_ae_title='MAGICIAN')
        """
        match = re.fullmatch(
            r"(?P<title>.+)@(?:\[(?P<v6>[^\]]+)\]|(?P<host>[^@:]+)):(?P<port>\d+)",
            text.strip() if isinstance(text, str) else "",
        )
        if match is None:
            raise ValueError(
                f"{text!r} is not of the form AET@host:port, for instance ORTHANC@127.0.0.1:4242."
            )
        return cls(match["title"], match["v6"] or match["host"], int(match["port"]), **keywords)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.ae_title}@{host}:{self.port}"

    def __repr__(self) -> str:
        return f"Node({str(self)!r}, local_ae_title={self.local_ae_title!r})"


# The AE titles of the practice PACS that listened here and were stopped, by address
_STOPPED: dict[tuple[str, int], str] = {}
# What starts and fills them again, for those of the lessons
_CELLS = {
    "PRACTICE": "In lesson 01, Cell 3 starts it again and Cell 3a fills it",
    "SECOND": "In lesson 01, Cell 12 starts it again and Cell 13 fills it",
    "LESSON2": "In lesson 02, Cell 2.1 starts and fills it again",
    "LESSON3": "In lesson 03, Cell 3.1 starts and fills it again",
}
_FILLS = {
    "PRACTICE": "In lesson 01, Cell 3a does: practice.add(teaching_study().datasets)",
    "SECOND": "In lesson 01, Cell 13 does: store(target, results.all)",
}


def _address(node: Node) -> tuple[str, int]:
    return "loopback" if is_loopback(node.host) else node.host, node.port


def note_started(node: Node) -> None:
    """Forget which practice PACS was stopped here: a listener of this process has the port now."""
    _STOPPED.pop(_address(node), None)


def note_stopped(node: Node) -> None:
    """Remember that a practice PACS of this process has listened here, and was stopped."""
    _STOPPED[_address(node)] = node.ae_title


def stopped_title(node: Node) -> str:
    """Return the AE title of the practice PACS that was stopped at this address, else ``""``."""
    return _STOPPED.get(_address(node), "")


def explain_stopped(ae_title: str) -> str:
    """Tell what to do about a practice PACS that was stopped."""
    cells = _CELLS.get(ae_title, "Run the cell that starts it again")
    return f"{cells}; then run this cell again."


def explain_empty(ae_title: str) -> str:
    """Tell how to fill a practice PACS that holds nothing."""
    fills = _FILLS.get(ae_title, "Fill it with .add(...), or send to it with store(...)")
    return f"{fills}. Then run this cell again."
