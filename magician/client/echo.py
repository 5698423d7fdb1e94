"""The verb "are you there?" (C-ECHO, PS3.4 Annex A)."""

from __future__ import annotations

from pynetdicom.sop_class import Verification

from magician.dimse.association import associate
from magician.dimse.status import SUCCESS, describe_status, require_status
from magician.errors import DimseFailure, Finding
from magician.node import Node


def echo(node: Node) -> int:
    """Ask a node whether it is there and speaks DICOM (C-ECHO, PS3.7 9.1.5, PS3.4 Annex A).

    Returns
    -------
    int
        The status, 0x0000 (Success).

    Raises
    ------
    DimseFailure
        If it answers with anything else; and the errors of `magician.associate`.
    """
    with associate(node, [Verification]) as association:
        status = require_status(association.send_c_echo(), association, node, "C-ECHO")
    if status != SUCCESS:
        seen = f"{node} answered our C-ECHO with {describe_status(status)}."
        change = "Its administrator can see the cause in its log."
        raise DimseFailure.of(Finding("C-ECHO", seen, "the PACS", change), status)
    return status
