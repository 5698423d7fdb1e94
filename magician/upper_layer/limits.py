"""Limits on what a peer may send: sizes, numbers and seconds."""

from __future__ import annotations

from dataclasses import dataclass

# of a message that we are sent, at a time; larger PDUs are no faster, pynetdicom's 16 KiB slower
MAX_PDU_BYTES = 128 * 1024


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
