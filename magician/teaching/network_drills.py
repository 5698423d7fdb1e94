"""The drills of the network: what goes wrong, and how a learner's answer is examined.

Each has practice PACS of its own on this computer, with a fault switched on. Titles, objects and
letters depend on the learner's name.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import replace

from pydicom import Dataset, dcmread
from pydicom.uid import JPEGLSLossless

from magician.client.diagnosis import Diagnosis
from magician.client.echo import echo
from magician.client.retrieve import get_study
from magician.dimse.receiver import Receiver
from magician.errors import IncompleteRetrieve
from magician.node import Node
from magician.practice_pacs import faults
from magician.practice_pacs.pacs import PracticePacs
from magician.teaching.drills import (
    Drill,
    Exercise,
    NetworkDrill,
    is_answer,
    is_letter,
    judge,
    require,
    running_drill,
)

SYNTAX = "15da8137fcce443a"  # the answer of drill I


class StrangerAtFind(NetworkDrill):
    """A PACS that lets everybody send a C-ECHO, and lets those query whom it knows."""

    letter, layer, who = "A", "9a7c775ec4fd32c8", "0e7500d119a2ff42"
    wrong = {
        "TCP": "C-ECHO works: host and port are right.",
        "association": "C-ECHO works, and it needs an association: both titles are accepted.",
        "presentation contexts": "C-FIND is offered: the row of the contexts lists it.",
        "C-ECHO": "C-ECHO is answered with 0x0000. What is asked after it?",
        "we": "Our query is in order. Who decides which titles may query?",
        "the network": "The network carries each message. Who ends the association, and why?",
    }

    def set_up(self, resources: ExitStack) -> None:
        self.start(resources, "ARCHIVE", faults=[faults.REFUSED_AT_FIND])
        title = f"LUNG_AI_{self.choose(*range(10, 100))}"
        self.node = replace(self.node, local_ae_title=title)
        self.symptom = """A new program is to query the PACS. On Monday somebody tested C-ECHO, and
            the PACS answered. Since then each query ends with "connection lost". The network
            department finds nothing.

            Work with .node. The administrator of the PACS enters one AE title for you:
            .administrator_allows("TITLE"). Then query, and hand in studies."""

    def administrator_allows(self, ae_title: str) -> None:
        """Enter an AE title among those that may query this PACS."""
        self.pacs.allow(ae_title)


def examine_stranger(studies, *, layer=None, who=None) -> str:
    drill = running_drill("A")
    judge(drill, layer, who)
    require(studies is not None, "Layer and side are right. Now the repair: hand in studies.")
    listed = isinstance(studies, list) and all(isinstance(one, Dataset) for one in studies)
    require(listed and studies, "studies is what find_studies returns.")
    found = {(one.get("StudyInstanceUID"), one.get("RetrieveAETitle")) for one in studies}
    ours = (drill.study_instance_uid, drill.node.ae_title) in found
    require(ours, "That study is of another PACS, or another name. Query the node of this drill.")
    return "Field sign: C-ECHO works, C-FIND is aborted. The PACS must enter our calling title."


class Destinations(NetworkDrill):
    """Two destinations of a C-MOVE: one unknown, one known with the address of another."""

    letter, layer, who = "B", "f6ca15bf3365c1fb", "399c5b2c19911142"
    wrong = {
        "TCP": "Our connection to the PACS stands. It is the PACS that calls the workstation.",
        "association": "Our association stands, and so does C-FIND on it.",
        "presentation contexts": "C-MOVE is offered: what does it answer?",
        "C-STORE": "C-STORE would come next, on the connection that the PACS opens.",
        "C-FIND": "C-FIND finds the study. What comes after it?",
        "we": "We send the title alone. Who looks up host and port for it?",
        "the network": "The PACS opens no connection to us: to which address would it?",
    }

    def set_up(self, resources: ExitStack) -> None:
        self.start(resources, "ARCHIVE")
        number = self.choose(*range(10, 100))
        self.titles = {letter: f"VIEWER_{letter}{number}" for letter in "AB"}
        self._unknown = self.choose("A", "B")
        title = self.titles["AB".replace(self._unknown, "")]
        self.former = Receiver(self.folder / "former computer", ae_title=title)
        self.pacs.know(resources.enter_context(self.former).node)
        self.symptom = """Two new workstations, A and B, fetch studies by C-MOVE. On neither does an
            image appear. One of them shows an error. On the other, all seems well.

            Work with .node, .study_instance_uid, .titles["A"], .titles["B"], and .folder. The
            administrator enters a destination with .pacs.know(node). Hand in moved: a dictionary
            with the complete retrieve of each, moved["A"] and moved["B"]."""


def examine_destinations(moved, *, unknown=None, layer=None, who=None) -> str:
    drill = running_drill("B")
    right = is_letter("unknown", unknown, drill._unknown)
    require(right, "For that one, the PACS answers 0x0000: it knows the title.")
    judge(drill, layer, who)
    both = isinstance(moved, dict) and {"A", "B"} <= moved.keys()
    require(both, 'Layer and side are right. Now the repair: hand in moved["A"] and moved["B"].')
    for key in ("A", "B"):
        drill.require_retrieved(f"moved[{key!r}]", moved[key], drill.folder / key)
    return "Field sign: 0xA801, it does not know us. 0x0000 and nothing here: a wrong address."


class OneMissing(NetworkDrill):
    """A PACS that leaves one object out of a retrieve, and ends it with success."""

    letter, layer, who = "C", "86e2166d4ca4ebc1", "3770b10b0aeba470"
    wrong = {
        "association": "94 objects came over this association: it stands.",
        "presentation contexts": "93 objects are of the same kind: they had a context.",
        "C-FIND": "C-FIND counts 95, and that is right. Which service sent fewer?",
        "C-STORE": "The objects come by C-STORE, as a part of another service. Which one?",
        "we": "We count, and we can't do more. Who said 0x0000 after 94 of 95?",
        "the network": "The network loses no objects: TCP sends again what is lost.",
    }

    def set_up(self, resources: ExitStack) -> None:
        self.start(resources, "ARCHIVE", count=95, faults=[faults.ONE_NOT_SENT])
        with tempfile.TemporaryDirectory() as elsewhere:
            try:
                get_study(self.node, self.study_instance_uid, elsewhere, progress=False)
            except IncompleteRetrieve as error:
                (self._missing,) = error.missing
        self.symptom = """A program has fetched a study by C-GET. The PACS ended with 0x0000, and
            the program measured the lungs. Now a radiologist sees a step in the coronal picture.

            Work with .node, .study_instance_uid and .folder. Hand in again, the retrieve that is
            complete, and missing, the SOP Instance UID that did not come at first."""


def examine_missing(again, *, missing=None, layer=None, who=None) -> str:
    drill = running_drill("C")
    one = missing[0] if isinstance(missing, (list, tuple)) and len(missing) == 1 else missing
    is_text = isinstance(one, str)
    require(is_text, "missing is one SOP Instance UID, in quotes: the error names it.")
    others = {str(one.SeriesInstanceUID) for one in drill.images} | {drill.study_instance_uid}
    require(one.strip() not in others, "That is the UID of a study or series. Which object is it?")
    came = {str(image.SOPInstanceUID) for image in drill.images} - {drill._missing}
    require(one.strip() not in came, "That object came. The error names the one that did not.")
    require(one.strip() == drill._missing, "This study has no object with that UID.")
    judge(drill, layer, who)
    require(again is not None, "The answers are right. Now retrieve again: hand in again.")
    drill.require_retrieved("again", again, drill.folder)
    return "Field sign: 0x0000 is a claim. Ask by C-FIND, count, and fetch what is missing."


class TwoDeadPorts(Drill):
    """A port that nobody listens on, and one whose packets are swallowed."""

    letter, layer, who = "F", "95479ce7e69dad56", "f61b72f87a63a29d"
    wrong = {
        "host name": "The address is a number: no name has to be found.",
        "association": "An association needs a connection. Does one open?",
        "C-ECHO": "So high we do not come. At which row does diagnose stop?",
        "the PACS": "A PACS that is stopped leaves a computer that refuses at once. Who drops?",
    }

    def set_up(self, resources: ExitStack) -> None:
        self._swallowed = self.choose("A", "B")
        self.nodes = {}
        for letter in "AB":
            silent = letter == self._swallowed
            fault = faults.SWALLOWED if silent else faults.NOTHING_LISTENS
            pacs = resources.enter_context(PracticePacs(ae_title="ARCHIVE", faults=[fault]))
            self.nodes[letter] = replace(pacs.node, connect_s=2)
        self.symptom = """Two PACS can't be reached since this morning, A and B. "Both are down",
            says a colleague. For one of them that can't be the reason.

            Work with .nodes["A"] and .nodes["B"]. Hand in found, what diagnose says of the PACS
            that is perhaps not down at all; its letter; the layer; and who, for this one, must look
            besides us."""


def examine_dead_ports(found, *, letter=None, layer=None, who=None) -> str:
    drill = running_drill("F")
    right = is_letter("letter", letter, drill._swallowed)
    require(right, "That computer answers at once: only its program is down.")
    judge(drill, layer, who)
    require(isinstance(found, Diagnosis), "found is what diagnose returns.")
    own = found.node == drill.nodes[drill._swallowed]
    require(own, f"This is the diagnosis of another node: take .nodes[{drill._swallowed!r}].")
    return "Field sign: refused at once, no program listens. Time-out: a firewall drops packets."


class CapitalTitle(NetworkDrill):
    """A called title in small and capital letters, which a form has made capital."""

    letter, layer, who = "G", "a811fcff389797eb", "91dfc99c0de74698"
    wrong = {
        "TCP": "The port takes connections: somebody answers there.",
        "presentation contexts": "They come with an association. Does one stand?",
        "C-ECHO": "A C-ECHO needs an association. Does one stand?",
        "the PACS": "The PACS goes by the title of the mail. Which one do we call?",
        "the network": "The answer came over the network: it works.",
    }

    def set_up(self, resources: ExitStack) -> None:
        place = self.choose("Chest", "North", "Main", "Lung")
        title = f"{place}Pacs{self.choose(*range(10, 100))}"
        self.start(resources, title)
        right, self.node = self.node, replace(self.node, ae_title=title.upper())
        self.mail = f"Our AE title is {title}, our address {right.host}, port {right.port}."
        self.symptom = """The PACS refuses a new program, whatever it asks. The program shows the
            data of the PACS as its form has stored them: .node. The administrator of the PACS had
            sent them: .mail.

            Work with .node and .mail. Hand in node, the repaired one."""


def examine_title(node, *, layer=None, who=None) -> str:
    drill = running_drill("G")
    judge(drill, layer, who)
    require(isinstance(node, Node), "Layer and side are right. Hand in node, the repaired Node.")
    same = (node.host, node.port) == (drill.node.host, drill.node.port)
    require(same, "Host and port were right: leave them as they are.")
    ours = node.local_ae_title == drill.node.local_ae_title
    require(ours, "That is our own title, and it was right. Which is the title that we call?")
    require(node != drill.node, "This node is the one that is refused. Read the mail again.")
    right = node.ae_title == drill.pacs.node.ae_title and echo(node) == 0
    require(right, "The PACS refuses this title, too. Each letter counts, as in the mail.")
    return 'Field sign: "called AE title not recognised". Letter case and spaces count.'


class NoCGet(NetworkDrill):
    """A PACS without C-GET, or one that does not accept the role that a C-GET needs."""

    letter, layer = "H", "fe98b97dcb088619"
    wrong = {
        "C-GET": "C-GET does not come into its own: what was to be agreed before it?",
        "C-FIND": "C-FIND works: it finds the study.",
        "C-ECHO": "C-ECHO works: it is answered with 0x0000.",
        "association": "The association stands. What was agreed on it?",
    }

    def set_up(self, resources: ExitStack) -> None:
        self._missing = self.choose("context", "role")
        fault = faults.NO_C_GET if self._missing == "context" else faults.NO_SCP_ROLE
        self.start(resources, "ARCHIVE", faults=[fault])
        self.symptom = """C-ECHO and C-FIND work. With get_study, no image comes.

            Work with .node, .study_instance_uid and .folder. Is the presentation context of C-GET
            missing, or the SCP role, with which the PACS sends to us? Hand in missing, "context" or
            "role". Then bring the images here in another way, and hand in moved. The administrator
            enters a destination with .pacs.know(node)."""


def examine_no_c_get(moved, *, missing=None, layer=None) -> str:
    drill = running_drill("H")
    judge(drill, layer)
    text = str(missing).lower()
    said = [one for one in ("context", "role") if one in text]
    require(len(said) == 1, 'missing is "context" or "role".')
    sentence = (
        "C-GET is offered, with its context. What does diagnose say beside it?"
        if said == ["context"]
        else "No role is asked for where C-GET itself is not offered: see diagnose."
    )
    require(said == [drill._missing], sentence)
    require(moved is not None, "Right. Which other service brings images? Hand in moved.")
    drill.require_retrieved("moved", moved, drill.folder)
    return "Field sign: a query works, C-GET brings nothing: a context or role. Use C-MOVE."


class NoSharedSyntax(NetworkDrill):
    """A PACS that takes compressed objects only."""

    letter, layer = "I", "c77cdb7241838fd2"
    wrong = {
        "association": "The association stands. What was agreed on it?",
        "C-STORE": "No C-STORE was sent: store stops before. What is missing for it?",
        "C-ECHO": "C-ECHO works: it is answered with 0x0000.",
    }

    def set_up(self, resources: ExitStack) -> None:
        self.start(resources, "ARCHIVE", empty=True, faults=[faults.ONLY_JPEG_LS])
        del self.images[:-1]
        self.symptom = """An image can't be stored, and the log of the PACS shows nothing. Its
            conformance statement lists CT Image Storage, and "JPEG-LS Lossless Image Compression".

            Work with .node and .images, a list with one image. Let the PACS hold it, with lossless
            compression. Hand in syntax, the name of its transfer syntax before."""


def examine_syntax(*, syntax=None, layer=None) -> str:
    drill = running_drill("I")
    judge(drill, layer)
    name = " ".join(str(syntax).lower().replace("-", " ").split())
    require("jpeg" not in name, "That is what the PACS takes. In which one was our image?")
    require("implicit" not in name, "Its file_meta says explicit: TransferSyntaxUID.")
    right = is_answer("drill I syntax", name, SYNTAX)
    require(right, "syntax is the name of TransferSyntaxUID in its file_meta, before.")
    uid = str(drill.images[0].SOPInstanceUID)
    held = [dcmread(one["path"]) for one in drill.pacs.held("IMAGE", SOPInstanceUID=uid)]
    require(held, "Layer and syntax are right. Now compress the image, and store it.")
    lossless = held[0].file_meta.TransferSyntaxUID == JPEGLSLossless
    require(lossless, "The PACS holds it in another transfer syntax.")
    return "Field sign: CT is taken, our CT is not. A context is SOP class and transfer syntax."


_KINDS = (
    StrangerAtFind, Destinations, OneMissing, TwoDeadPorts, CapitalTitle, NoCGet, NoSharedSyntax
)  # fmt: skip
DRILLS: dict[str, type[Drill]] = {one.letter: one for one in _KINDS}
EXERCISES: dict[str, Exercise] = {
    "drill A": Exercise(2, "Find out why each query is cut off", examine_stranger),
    "drill B": Exercise(2, "Bring images to two destinations", examine_destinations),
    "drill C": Exercise(2, "Find the object that did not come", examine_missing),
    "drill F": Exercise(2, "Tell which of two PACS is perhaps not down", examine_dead_ports),
    "drill G": Exercise(2, "Call a PACS that refuses every call", examine_title),
    "drill H": Exercise(2, "Fetch a study where C-GET brings nothing", examine_no_c_get),
    "drill I": Exercise(2, "Store an image that has no context", examine_syntax),
}
