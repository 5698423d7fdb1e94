"""The privacy rule: identified objects leave this computer only if the caller says so.

An object counts as de-identified if it says PatientIdentityRemoved=YES (0012,0062). That is a claim
and not a proof. A host counts as this computer if its address is loopback; a tunnel that ends on
this computer looks like it, too.
"""

from __future__ import annotations

from collections.abc import Iterable

from pydicom.dataset import Dataset

from magician.errors import NotDeidentified
from magician.node import Node, is_loopback


def says_deidentified(header: Dataset) -> bool:
    """Tell whether an object says PatientIdentityRemoved=YES (0012,0062, PS3.3 C.7.1.1)."""
    return header.get("PatientIdentityRemoved") == "YES"


def may_hold_identified(host: str) -> bool:
    """Tell whether objects that name a patient may lie on `host`: only on this computer."""
    return is_loopback(host)


def may_hold(host: str, headers: Iterable[Dataset]) -> bool:
    """Tell whether all these objects may lie on `host`, or be sent to it."""
    return may_hold_identified(host) or all(map(says_deidentified, headers))


def refuse_identified(
    headers: Iterable[Dataset], host: str, destination: str, *, allow_identified: bool = False
) -> None:
    """Raise `NotDeidentified` if one of these objects may not go to `host`.

    Parameters
    ----------
    headers : iterable of Dataset
        The objects, or as much of each as says whether it is de-identified.
    host : str
        The address that they would go to.
    destination : str
        The name of that place, for the message.
    allow_identified : bool
        The caller says that patients' data may go there.
    """
    if allow_identified or may_hold_identified(host):
        return
    identified = [header for header in headers if not says_deidentified(header)]
    if identified:
        raise NotDeidentified(
            f"{len(identified)} object(s) do not say PatientIdentityRemoved=YES, and {destination} "
            f"is not this computer; nothing was sent. De-identify them first (PS3.15 Annex E), and "
            f"mark them so. allow_identified=True is only for those whose hospital permits them to "
            f"send patients' data there."
        )


def refuse_unseen_move(source: Node, destination: Node, *, allow_identified: bool = False) -> None:
    """Raise `NotDeidentified` for a C-MOVE between two nodes, unless both are this computer.

    We see none of the objects that it sends. The source is told only an AE title, and looks up the
    address itself.
    """
    on_this_computer = may_hold_identified(source.host) and may_hold_identified(destination.host)
    if not on_this_computer and not allow_identified:
        raise NotDeidentified(
            f"A C-MOVE from {source} to {destination} sends objects that we can't see, perhaps to "
            f"another computer; nothing was sent. Fetch them to this computer first (get_study), "
            f"de-identify them, and send them with store, which looks at each. "
            f"allow_identified=True is only for those whose hospital permits them to send "
            f"patients' data there."
        )
