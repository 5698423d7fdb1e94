"""The diagnosis of a connection to a PACS: where it stops, and who has to change what (`diagnose`).

The layers that are checked, and in which order, stand in `connection_layers`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from magician.client.connection_layers import (
    NOT_OFFERED,
    NOT_TRIED,
    OK,
    STOPPED,
    WARNING,
    Row,
    check_layers,
)
from magician.errors import LAYERS
from magician.node import Node
from magician.tables import Table

LONGEST_OUTCOME = len(NOT_OFFERED)


@dataclass(frozen=True, repr=False)
class Diagnosis:
    """What `diagnose` found: a table in a notebook, and text elsewhere.

    Attributes
    ----------
    node : Node
        Who was called.
    rows : tuple of Row
        One for each layer, from the lowest to the highest.
    """

    node: Node
    rows: tuple[Row, ...]

    @property
    def stopped_at(self) -> Row | None:
        """The row at which it stops, or None."""
        return next((row for row in self.rows if row.outcome == STOPPED), None)

    @property
    def ok(self) -> bool:
        """Whether nothing stops; there may still be warnings, and services that are not offered."""
        return self.stopped_at is None

    def __getitem__(self, layer: str) -> Row:
        """The row of a layer, as ``diagnosis["C-FIND"]``."""
        return {row.layer: row for row in self.rows}[layer]

    @property
    def summary(self) -> str:
        """One sentence."""
        warnings = ", ".join(row.layer for row in self.rows if row.outcome == WARNING)
        if self.stopped_at:
            outcome = f"it stops at: {self.stopped_at.layer}"
        else:
            outcome = f"it works, with a warning at: {warnings}" if warnings else "all well"
        return f"{self.node}, called by {self.node.local_ae_title}: {outcome}"

    def __repr__(self) -> str:
        return repr(Table((), [_text_row(row) for row in self.rows], summary=self.summary))

    def _repr_html_(self) -> str:
        headings = ["layer", "outcome", "seen", "who must change something", "what"]
        rows = [[row.layer, row.outcome, row.seen, row.side, row.change] for row in self.rows]
        return Table((), [headings, *rows], summary=self.summary)._repr_html_()


def _text_row(row: Row) -> list[str]:
    """Return the cells of a row in plain text: who must change what stands below what was seen."""
    change = f"\n-> {row.side}: {row.change}" if row.change else ""
    return ["", row.layer, f"{row.outcome:<{LONGEST_OUTCOME}}", row.seen + change]


def diagnose(node: Node) -> Diagnosis:
    """Climb the layers of a connection, and tell where it stops and who has to change what.

    A failing peer is what this function is for: it is reported and never raised. The node's
    ``connect_s``, ``associate_s`` and ``dimse_s`` limit each step as they limit
    `magician.dimse.association.associate`.

    Parameters
    ----------
    node : Node

    Returns
    -------
    Diagnosis
        ``.ok``, ``.rows``, ``.stopped_at``; show it as the last line of a notebook's cell, or print
        it.

    Examples
    --------
    >>> print(diagnose(Node("PACS", "127.0.0.1", 1)).stopped_at.seen)
    Nothing listens on 127.0.0.1:1.
    """
    return Diagnosis(node, tuple(_every_layer(check_layers(node), node)))


def _every_layer(rows: dict[str, Row], node: Node) -> Iterator[Row]:
    """Add the layers without a row of their own: passed on the way up, or not reached."""
    passed = True
    for layer in LAYERS:
        row = rows.get(layer, Row(layer, OK))
        if layer in rows or layer != "TLS" or node.tls:
            yield row if passed or row.outcome == NOT_OFFERED else replace(row, outcome=NOT_TRIED)
        passed = passed and row.outcome != STOPPED
