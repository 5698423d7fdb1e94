"""A caller that speaks the upper layer by itself, so that a test can change each byte it sends."""

import socket
import struct
import time
from contextlib import suppress

from odd_pacs import (
    COMMAND_FIELD,
    DATA_SET_TYPE,
    MESSAGE_ID,
    NO_DATA_SET,
    SOP_CLASS,
    command_set,
    data_pdus,
    item,
    pdu,
    ui,
    us,
)

VERIFICATION, IMPLICIT, EXPLICIT = "1.2.840.10008.1.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
CLASS_UID = item(0x52, b"1.2.3.4")
MAXIMUM = item(0x51, (16384).to_bytes(4, "big"))
USER = MAXIMUM + CLASS_UID
ABORTED, REJECTED, RELEASED = 0x07, 0x03, 0x06
RELEASE = pdu(0x05, bytes(4))


def context(number=1, abstract=VERIFICATION, syntaxes=(IMPLICIT,)):
    """A presentation context of an A-ASSOCIATE-RQ (PS3.8 9.3.2.2); names may be text or bytes."""
    names = [(0x30, abstract), *((0x40, syntax) for syntax in syntaxes)]
    named = [item(kind, n if isinstance(n, bytes) else n.encode()) for kind, n in names]
    return item(0x20, bytes((number, 0, 0, 0)) + b"".join(named))


def request(
    called=b"",
    calling=b"ME",
    user=USER,
    contexts=None,
    more=b"",
    application=b"1.2.840.10008.3.1.1.1",
    version=1,
    reserved=bytes(32),
    user_item=None,
):
    """An A-ASSOCIATE-RQ (PS3.8 9.3.2); the arguments are what can deviate."""
    body = struct.pack(">HH", version, 0) + called.ljust(16) + calling.ljust(16) + reserved
    body += item(0x10, application) + (context() if contexts is None else contexts) + more
    return pdu(0x01, body + (item(0x50, user) if user_item is None else user_item))


def echo_request(context_id=1):
    elements = {
        SOP_CLASS: ui(VERIFICATION),
        COMMAND_FIELD: us(0x30),
        MESSAGE_ID: us(1),
        DATA_SET_TYPE: us(NO_DATA_SET),
    }
    return data_pdus(context_id, command_set(elements), is_command=True)


def read_pdu(sock):
    """The type and the content of the next PDU; (None, b"") if the connection is closed."""
    content = b""
    with suppress(ConnectionError):
        while len(content) < 6 or len(content) < 6 + int.from_bytes(content[2:6], "big"):
            more = sock.recv(65536)
            if not more:
                return None, content
            content += more
    return (content[0], content[6:]) if content else (None, b"")


def answer_to(node, asked, context_id=1):
    """Ask for an association, and for a C-ECHO if it is accepted. Returns ``"echo"`` if that and
    the release are answered, else the last PDU.
    """
    with socket.create_connection((node.host, node.port), timeout=20) as sock:
        sock.sendall(asked)
        kind, body = read_pdu(sock)
        if kind != 0x02:
            return kind, body
        sock.sendall(echo_request(context_id))
        kind, body = read_pdu(sock)
        if kind != 0x04:
            return kind, body
        sock.sendall(RELEASE)
        kind, body = read_pdu(sock)
        return "echo" if kind == RELEASED else (kind, body)


def throw_at(node, *messages):
    """Send bytes one after the other; each is followed by a look at what comes back."""
    with socket.create_connection((node.host, node.port), timeout=5) as sock:
        sock.settimeout(0.3)
        with suppress(OSError):
            for message in messages:
                sock.sendall(message)
                sock.recv(65536)
    time.sleep(0.05)
