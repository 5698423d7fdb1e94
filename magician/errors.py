"""The errors of this package, each of which says what happened and what to do.

Every function either does what it says or raises one of these:

    MagicianError
    ├── PacsUnreachable         no TCP connection: nothing listens there, or a wrong host
    ├── PacsTimeout             something is there and does not answer in time
    ├── TlsFailure              connected, not encrypted: a certificate, or one side speaks no TLS
    ├── AssociationRejected     it answered, and refused: an AE title it does not accept
    ├── AssociationAborted      the connection ended without an answer: perhaps no DICOM port
    ├── ServiceNotAccepted      associated, but it does not offer the service that we need
    ├── DimseFailure            a request came back with a failure status (.status)
    │   └── UnknownMoveDestination   the PACS does not know where to send a C-MOVE
    ├── StudyNotFound           the query was answered, with no match
    ├── SeveralStudies          several studies match where one was meant
    ├── IncompleteRetrieve      fewer images came than promised (.received, .expected, .missing)
    ├── NotDeidentified         the privacy rule: identified data were about to leave this computer
    ├── SeriesError             a CT series that can't be read as one exact volume
    ├── WeightsUnavailable      the network's weights are not there, or not the ones expected
    ├── SegmentationError       the input or the outcome of a segmentation is not plausible
    │   └── NoLungsFound             a plausible CT, and no lungs in it
    └── ResultError             a DICOM result can't be made or read

Catch the error that you can do something about, or all of them:

    try:
        echo(node)
    except MagicianError as error:
        print(error)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """The cause of a failed connection, and who can remove it.

    Attributes
    ----------
    layer : str
        The layer at which it stopped: one of `LAYERS`.
    seen : str
        What happened.
    side : str
        Who must change something: ``"we"``, ``"the PACS"``, ``"the network"``, or two of these.
    change : str
        What must be changed.
    """

    layer: str
    seen: str
    side: str
    change: str


# From the lowest upwards; each layer needs those before it
LAYERS = (
    "host name", "TCP", "TLS", "association", "presentation contexts",
    "C-ECHO", "C-FIND", "C-GET", "C-MOVE", "C-STORE",
)  # fmt: skip


class MagicianError(Exception):
    """Base of every error that this package raises on purpose.

    Attributes
    ----------
    finding : Finding or None
        For an error of a connection: its cause in parts. `diagnose` makes a table of them.
    """

    finding: Finding | None = None

    @classmethod
    def of(cls, finding: Finding, *arguments) -> MagicianError:
        """Make an error of this kind from a finding; `arguments` follow the message."""
        error = cls(f"{finding.seen} {finding.change}", *arguments)
        error.finding = finding
        return error


class PacsUnreachable(MagicianError):
    """No TCP connection could be made."""


class PacsTimeout(MagicianError):
    """The peer accepted the connection, or a request, and then stayed silent for too long."""


class TlsFailure(MagicianError):
    """The two sides do not agree on encryption, or on a certificate (PS3.15 Annex B)."""


class AssociationRejected(MagicianError):
    """The peer refused the association (A-ASSOCIATE-RJ, PS3.8 9.3.4) and gave a reason."""


class AssociationAborted(MagicianError):
    """The association ended without an answer: A-ABORT (PS3.8 9.3.8) or a closed connection."""


class ServiceNotAccepted(MagicianError):
    """The peer accepted the association, and no presentation context for the service."""


class DimseFailure(MagicianError):
    """A DIMSE request was answered with a failure status.

    Attributes
    ----------
    status : int
        The status code, for instance 0xA700.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class UnknownMoveDestination(DimseFailure):
    """The PACS does not know the AE title that a C-MOVE named as its destination (0xA801)."""


class StudyNotFound(MagicianError):
    """The PACS answered the query, and nothing matched."""


class SeveralStudies(MagicianError):
    """A query that was meant for one study matched several, and none is taken for the right one."""


class IncompleteRetrieve(MagicianError):
    """Fewer instances arrived than the PACS holds.

    Attributes
    ----------
    received, expected : int
        Numbers of instances.
    missing : tuple of str
        SOP Instance UIDs of those that did not arrive, as far as they are known.
    """

    def __init__(
        self, message: str, received: int, expected: int, missing: Sequence[str] = ()
    ) -> None:
        super().__init__(message)
        self.received = received
        self.expected = expected
        self.missing = tuple(missing)


class NotDeidentified(MagicianError):
    """Objects that do not say PatientIdentityRemoved=YES were about to leave this computer."""


class SeriesError(MagicianError):
    """A series that can't be read as one exact CT volume."""


class WeightsUnavailable(MagicianError):
    """The weights of a network are missing, or are not what they claim to be."""


class SegmentationError(MagicianError):
    """The input of a segmentation is not a plausible chest CT, or its outcome is not plausible."""


class NoLungsFound(SegmentationError):
    """The network ran, and found no lungs: hardly any voxels that it calls lung."""


class ResultError(MagicianError):
    """A DICOM result can't be made, or can't be read back."""
