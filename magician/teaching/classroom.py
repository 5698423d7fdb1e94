"""The teaching studies of a class, one for each learner, and the lines that learners must type."""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread

from magician.errors import MagicianError
from magician.files import instance_path
from magician.node import Node
from magician.teaching.phantom import TeachingStudy, instance_uids, teaching_study
from magician.teaching.phantom_headers import REVISION


@dataclass(frozen=True)
class LearnersStudy:
    """The teaching study of one learner: ``teaching_study(seed=name)``, with an accession number.

    The learner's name is written into no object and no file.
    """

    name: str

    @property
    def accession_number(self) -> str:
        """Eight digits of the SHA-256 of the name: the same on every computer, and after a restart.

        Another revision of the teaching study has other pixels, and gets other numbers.
        """
        digest = hashlib.sha256(f"{REVISION} {self.name}".encode()).digest()
        return f"{int.from_bytes(digest) % 10**8:08d}"

    def is_held(self, folder: Path) -> bool:
        """Tell whether all objects of the study lie in the folder of a PACS."""
        return all(path.exists() for path in self._paths(folder))

    def compute(self, *, progress: bool) -> TeachingStudy:
        """Compute the study and its truth; this takes some seconds."""
        return teaching_study(
            seed=self.name, accession_number=self.accession_number, progress=progress
        )

    def instance_uids(self) -> list[str]:
        """List the SOP Instance UIDs of the study; nothing is computed."""
        return instance_uids(seed=self.name, accession_number=self.accession_number)

    def patient_name(self, folder: Path) -> str:
        """Read the name of the patient, who is not the learner."""
        return str(dcmread(self._paths(folder)[0], stop_before_pixels=True).PatientName)

    def _paths(self, folder: Path) -> list[Path]:
        return [instance_path(folder, uid) for uid in self.instance_uids()]


def learners_studies(names: Iterable[str]) -> list[LearnersStudy]:
    """Make a learner's study for each different name.

    Raises
    ------
    MagicianError
        If two names have the same accession number: one in a hundred million pairs does.
    """
    holders: dict[str, str] = {}
    studies = [LearnersStudy(name) for name in dict.fromkeys(names)]
    for study in studies:
        other = holders.setdefault(study.accession_number, study.name)
        if other != study.name:
            raise MagicianError(
                f"{other!r} and {study.name!r} would have the same accession number: "
                "spell one of them differently."
            )
    return studies


def read_names(path: Path) -> list[str]:
    """Read the names in a text file, one in each line; empty lines do not count.

    Raises
    ------
    MagicianError
        If the file can't be read as text.
    """
    try:
        # Windows editors put a mark before UTF-8
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise MagicianError(
            f"{path} can't be read ({error}): "
            "it must be a text file in UTF-8 with a name in each line."
        ) from error
    return [line.strip() for line in lines if line.strip()]


def list_instructions(
    node: Node,
    allowed_ae_titles: Sequence[str],
    *,
    tls: bool = False,
    mutual_tls: bool = False,
    page: str = "",
) -> list[str]:
    """List the lines of lesson 01 that a learner changes, to work with this PACS.

    After the number of a cell stands the line that takes the place of the one that begins alike.

    Parameters
    ----------
    node : Node
        The PACS, as learners reach it.
    allowed_ae_titles : sequence of str
        Who may call; empty for everybody.
    tls, mutual_tls : bool
        Whether the PACS takes encrypted connections only, and whether callers need a certificate of
        their own.
    page : str
        The address of its web page; empty if it has none.
    """
    keywords = ""
    if allowed_ae_titles and node.local_ae_title not in allowed_ae_titles:
        keywords += f', local_ae_title="{allowed_ae_titles[0]}"'
    if tls:
        own = ', certificate="own.pem", key="own.key"' if mutual_tls else ""
        keywords += f', tls=client_tls(ca="ca.pem"{own})'
    lines = [f'  Cell 3    PACS = "{node}"']
    if keywords:
        lines.append(f"            pacs = Node.parse(PACS{keywords})")
    if tls:
        lines += [
            "            after `from magician import client_tls`; "
            "ca.pem is the authority that signed the",
            "            certificate of this PACS, or that certificate if it has signed itself",
        ]
    lines += [
        "  Cell 3a   NAME = ...               # the learner's own line, as listed below",
        '  Cell 5    "accession_number": ...  # the learner\'s own line',
        "  Cell 7    leave it out: this PACS sends by C-GET only, in Cell 7b",
        "  Cell 11   LEARNER = ...            # an alias, in quotes; everybody can read it",
        "  Cell 12   target = pacs",
        "  Cell 13b  leave it out: it sends from the notebook's own PACS",
    ]
    if page:
        lines.append(f'  Cell 13d  show_page("{page}")')
    return lines


def list_learners(studies: Sequence[LearnersStudy], folder: Path) -> list[str]:
    """List the studies of a class, one line for each: the lines to type, and the patient."""
    rows = [
        (
            study.name,
            f"NAME = {json.dumps(study.name, ensure_ascii=False)}",
            f'"accession_number": "{study.accession_number}",',
            study.patient_name(folder),
        )
        for study in studies
    ]
    table = [("learner", "Cell 3a", "Cell 5", "patient"), *rows]
    widths = [max(len(row[column]) for row in table) for column in range(3)] + [0]
    return [
        "  "
        + "  ".join(f"{text:{width}}" for text, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]


def address_of_this_computer() -> str:
    """Find the address under which others reach this computer, as far as it can know itself."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # an address for documentation; a UDP "connection" sends no packet
            probe.connect(("192.0.2.1", 9))
            return probe.getsockname()[0]
        except OSError:
            return socket.gethostname()
