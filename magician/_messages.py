"""Reading what a peer sends: in time, and no more than we can hold; a part of `association` and `storage`.

pynetdicom reads a PDU of any length that its header claims (PS3.8 9.3.1), in calls that wait for ever, and puts
messages of any number of PDUs together in memory (PS3.7 6.3.1).
"""

from __future__ import annotations

import socket
import time

from pynetdicom.association import Association

MOST_PDU_BYTES = 1024**2  # we ask for 128 KiB of data at a time; a request for an association has no limit of its own
MOST_OBJECT_BYTES = 1024**3


def refuse_oversized(association: Association, length: int, object_bytes: int = MOST_OBJECT_BYTES) -> None:
    """Raise `OSError` if the next `length` bytes are too many for one PDU, or for the message that they belong to."""
    if length > MOST_PDU_BYTES:
        raise OSError(f"the peer began a PDU of {length} bytes; we take {MOST_PDU_BYTES}")
    message = association.dimse.message
    held = 0
    if message is not None:
        held = message.encoded_command_set.tell() + (message.data_set.tell() if message.data_set else 0)
    if held + length > object_bytes:
        raise OSError(f"the peer sent a message of more than {object_bytes} bytes")


def receive_exactly(sock: socket.socket, length: int, seconds: float) -> bytearray:
    """Read `length` bytes; fewer if the connection ends before. Raises `TimeoutError` after so many seconds."""
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
