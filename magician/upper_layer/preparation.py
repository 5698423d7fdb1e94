"""The preparation of an association: every repair and every speed-up, in one order.

It is the only place that applies them, to the associations that we ask for (`requestor`) as to
those that we accept (`acceptor`). README.md in this folder lists what each of them is tied to.
"""

from __future__ import annotations

from pynetdicom.association import Association

from magician.upper_layer.peer_faults import read_pdus_in_words
from magician.upper_layer.reactor_fixes import (
    end_on_broken_messages,
    end_on_failed_requests,
    end_on_unreadable_commands,
    repair_checkpoint,
    repair_waiting,
)
from magician.upper_layer.throughput import speed_up


def prepare_association(association: Association) -> None:
    """Repair an association and make it fast, before its threads start.

    Its socket must be, or become, a `connection.BoundedConnection`: the repairs close it, and the
    thread sleeps on it. Nothing may be applied twice, because a repair wraps what it finds.
    """
    if association.is_requestor:
        # Before all else: `speed_up` replaces `kill`, which opens this checkpoint.
        repair_checkpoint(association)
    read_pdus_in_words(association)
    # What pynetdicom does itself, guarded, while it is still pynetdicom's own.
    end_on_broken_messages(association)
    end_on_unreadable_commands(association)
    end_on_failed_requests(association)
    repair_waiting(association)
    # Last: from here on sending and ending are ours, and no repair wraps them.
    speed_up(association)
