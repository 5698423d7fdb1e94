"""Limits on what a peer may send: sizes, numbers and seconds.

pynetdicom reads a PDU of any length that its header claims (PS3.8 9.3.1), in calls that wait for
ever, and puts messages of any number of PDUs together in memory (PS3.7 6.3.1).
"""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass

from pynetdicom.association import Association

# of what we are sent at a time; larger ones are no faster, pynetdicom's 16 KiB slower
MAX_PDU_BYTES = 128 * 1024
# we ask for 128 KiB of data at a time; a request for an association has no limit of its own
MOST_PDU_BYTES = 1024**2
MOST_OBJECT_BYTES = 1024**3


@dataclass(frozen=True)
class Limits:
    """What a listener lets its callers take.

    Attributes
    ----------
    object_bytes : int
        The largest object; while it arrives it is held in memory.
    total_bytes, instances : int
        How much its folder may hold, and how many instances.
    associations : int
        How many callers at once. One more is refused with "local limit exceeded" (PS3.8 9.3.4);
        when twice as many are connected, further connections are closed without an answer.
    associate_s : float
        How long a connection may be open before it asks for an association (the ARTIM timer, PS3.8
        9.1.5).
    idle_s : float
        How long an association may be silent, and how long one PDU may take.
    """

    object_bytes: int = 1024**3
    total_bytes: int = 64 * 1024**3
    instances: int = 100_000
    associations: int = 64
    associate_s: float = 10
    idle_s: float = 60


DEFAULT_LIMITS = Limits()


def refuse_oversized(
    association: Association, length: int, object_bytes: int | None = None
) -> None:
    """Raise `OSError` if the next `length` bytes are too many for one PDU, or for the message that
    they belong to.
    """
    if length > MOST_PDU_BYTES:
        raise OSError(f"the peer began a PDU of {length} bytes; we take {MOST_PDU_BYTES}")
    message = association.dimse.message
    held = 0
    if message is not None:
        held = message.encoded_command_set.tell() + (
            message.data_set.tell() if message.data_set else 0
        )
    most = object_bytes or MOST_OBJECT_BYTES
    if held + length > most:
        raise OSError(f"the peer sent a message of more than {most} bytes")


def receive_exactly(sock: socket.socket, length: int, seconds: float) -> bytearray:
    """Read `length` bytes; fewer if the connection ends before. Raises `TimeoutError` after so many
    seconds.
    """
    received, count, deadline = bytearray(length), 0, time.monotonic() + seconds
    with memoryview(received) as view:
        while count < length:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{count} of {length} bytes came within {seconds:g} s")
            more = sock.recv_into(view[count:])
            if more == 0:
                break
            count += more
    del received[count:]
    return received
