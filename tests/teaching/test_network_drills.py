"""The drills of the network: the right answer passes, and each wrong one gets its sentence."""

import threading
import time
from dataclasses import replace

import pytest
from pydicom import Dataset
from pydicom.uid import JPEGLSLossless

from magician.client.diagnosis import diagnose
from magician.client.echo import echo
from magician.client.find import find_studies
from magician.client.retrieve import Retrieval, get_study, move_study
from magician.client.store import store
from magician.dimse.receiver import Receiver
from magician.errors import (
    AssociationAborted,
    AssociationRejected,
    DimseFailure,
    IncompleteRetrieve,
    PacsUnreachable,
    ServiceNotAccepted,
    UnknownMoveDestination,
)
from magician.practice_pacs.pacs import PracticePacs
from magician.teaching.exercises import check, drill
from magician.teaching.network_drills import DRILLS
from magician.teaching.phantom import teaching_study

OTHER = {"A": "B", "B": "A"}
NO_ANSWERS = [None, "x", 7, [1], {}, object(), Dataset(), float("nan")]


pytestmark = pytest.mark.usefixtures("own_progress")


@pytest.fixture(scope="class")
def missing(case):
    """What a learner sees in the error."""
    with pytest.raises(IncompleteRetrieve, match="Only 94 of 95 .*0x0000") as error:
        get_study(case.node, case.study_instance_uid, case.folder, progress=False)
    return error.value.missing[0]


@pytest.fixture(scope="class")
def found(case):
    return {letter: diagnose(node) for letter, node in case.nodes.items()}


def says(answer, words):
    assert not answer.ok, answer
    assert words in answer.sentence


def is_right(answer):
    assert answer.ok, answer
    assert "Field sign" in answer.sentence


class TestCallingTitleRefusedAtFind:
    letter = "A"
    right = {"layer": "C-FIND", "who": "the PACS"}

    def test_c_echo_works_and_a_query_is_aborted(self, case):
        assert echo(case.node) == 0
        with pytest.raises(AssociationAborted):
            find_studies(case.node)
        row = diagnose(case.node).stopped_at
        assert (row.layer, row.side) == (self.right["layer"], self.right["who"])

    def test_the_symptom_names_neither_layer_nor_cause(self, case):
        assert "C-FIND" not in repr(case)
        assert "title" not in repr(case).split("Work with")[0]

    @pytest.mark.parametrize(
        ("wrong", "words"),
        [
            ({"layer": "TCP"}, "host and port are right"),
            ({"layer": "association"}, "both titles are accepted"),
            ({"layer": "the AE title"}, "both titles are accepted"),
            ({"layer": "C-ECHO"}, "answered with 0x0000"),
            ({"layer": "C-MOVE"}, "another one"),
            ({"layer": "the cable"}, "layer is one of"),
            ({"who": "we"}, "Our query is in order"),
            ({"who": "the network"}, "carries each message"),
            ({"who": "nobody"}, "who is one of"),
        ],
    )
    def test_wrong(self, case, wrong, words):
        says(check("drill A", None, **{**self.right, **wrong}), words)

    def test_not_repaired(self, case):
        says(check("drill A", None, **self.right), "Now the repair")

    def test_the_called_title_is_entered(self, case):
        case.administrator_allows(case.node.ae_title)
        with pytest.raises(AssociationAborted):
            find_studies(case.node)

    def test_the_study_of_another_pacs(self, case):
        with PracticePacs(ae_title="ANOTHER") as pacs:
            pacs.add(case.images)
            says(check("drill A", find_studies(pacs.node), **self.right), "of another PACS")

    @pytest.mark.parametrize("studies", NO_ANSWERS[1:], ids=str)
    def test_what_no_studies_are(self, case, studies):
        says(check("drill A", studies, **self.right), "find_studies")

    @pytest.mark.parametrize("name", ["layer", "who"])
    @pytest.mark.parametrize("value", NO_ANSWERS, ids=str)
    def test_what_no_word_is(self, case, name, value):
        says(check("drill A", None, **{**self.right, name: value}), name)

    @pytest.mark.parametrize("layer", ["C-FIND", "c-find", "cfind", "C_FIND", "the query"])
    @pytest.mark.parametrize("who", ["the PACS", "PACS", "the administrator of the PACS"])
    def test_repaired(self, case, layer, who):
        case.administrator_allows(case.node.local_ae_title)
        is_right(check("drill A", find_studies(case.node), layer=layer, who=who))


class TestMoveDestinations:
    letter = "B"

    @pytest.fixture
    def right(self, case):
        return {"unknown": case._unknown, "layer": "C-MOVE", "who": "the PACS"}

    def move(self, case, letter, *, enter=True, folder=None):
        folder = folder or case.folder / letter
        with Receiver(folder, ae_title=case.titles[letter]) as receiver:
            if enter:
                case.pacs.know(receiver.node)
            return move_study(case.node, case.study_instance_uid, receiver, progress=False)

    def test_one_is_unknown_and_the_other_seems_well(self, case, right):
        with pytest.raises(UnknownMoveDestination, match="0xA801"):
            self.move(case, right["unknown"], enter=False)
        with pytest.raises(IncompleteRetrieve, match=r"Only 0 of 12 .* \(0x0000 \(Success\)\)"):
            self.move(case, OTHER[right["unknown"]], enter=False)

    @pytest.mark.parametrize(
        ("wrong", "words"),
        [
            ({"layer": "TCP"}, "It is the PACS that calls"),
            ({"layer": "C-FIND"}, "C-FIND finds the study"),
            ({"layer": "C-STORE"}, "would come next"),
            ({"who": "we"}, "Who looks up host and port"),
            ({"who": "the firewall"}, "to which address"),
            ({"unknown": "C"}, '"A" or "B"'),
        ],
    )
    def test_wrong(self, case, right, wrong, words):
        says(check("drill B", None, **{**right, **wrong}), words)

    def test_the_letters_are_exchanged(self, case, right):
        says(check("drill B", None, **{**right, "unknown": OTHER[right["unknown"]]}), "0x0000")

    @pytest.mark.parametrize("moved", [*NO_ANSWERS, {"A": None, "B": 7}], ids=str)
    def test_not_repaired(self, case, right, moved):
        says(check("drill B", moved, **right), "moved")

    def test_repaired(self, case, right):
        moved = {letter: self.move(case, letter) for letter in "AB"}
        is_right(check("drill B", moved, **right))

    def test_into_a_folder_of_ones_own(self, case, right, tmp_path):
        moved = {letter: self.move(case, letter, folder=tmp_path / letter) for letter in "AB"}
        says(check("drill B", moved, **right), "lies elsewhere")


class TestOneObjectMissing:
    letter = "C"

    @pytest.fixture
    def right(self, missing):
        return {"missing": missing, "layer": "C-GET", "who": "the PACS"}

    @pytest.mark.parametrize(
        ("wrong", "words"),
        [
            ({"missing": "94"}, "no object with that UID"),
            ({"missing": 94}, "in quotes"),
            ({"layer": "C-FIND"}, "counts 95, and that is right"),
            ({"layer": "TCP"}, "another one"),
            ({"layer": "C-STORE"}, "Which one?"),
            ({"who": "we"}, "Who said 0x0000"),
            ({"who": "the network"}, "TCP sends again"),
        ],
    )
    def test_wrong(self, case, right, wrong, words):
        says(check("drill C", None, **{**right, **wrong}), words)

    def test_the_uid_of_the_study(self, case, right):
        says(
            check("drill C", None, **{**right, "missing": case.study_instance_uid}),
            "study or series",
        )

    def test_an_object_that_came(self, case, right):
        came = next(one for one in case.images if one.SOPInstanceUID != right["missing"])
        says(check("drill C", None, **{**right, "missing": str(came.SOPInstanceUID)}), "came")

    @pytest.mark.parametrize("again", [*NO_ANSWERS, Retrieval(95, 94), Retrieval(95, 95)], ids=str)
    def test_not_complete(self, case, right, again):
        says(check("drill C", again, **right), "again")

    def test_fetched_again(self, case, right):
        again = get_study(case.node, case.study_instance_uid, case.folder, progress=False)
        is_right(check("drill C", again, **right))
        is_right(check("drill C", again, **{**right, "missing": (right["missing"],)}))

    def test_another_learner_misses_another_object(self, case, right):
        uid = teaching_study(seed="Ada", progress=False).datasets[0].SOPInstanceUID
        says(check("drill C", None, **{**right, "missing": str(uid)}), "no object with that UID")


class TestRefusedOrSwallowed:
    letter = "F"

    @pytest.fixture
    def right(self, found):
        (letter,) = [key for key, one in found.items() if "firewall" in one.stopped_at.seen]
        return {"letter": letter, "layer": "TCP", "who": "the network"}

    def test_one_is_refused_at_once_and_the_other_takes_its_time(self, case, right):
        took = {}
        for letter, node in case.nodes.items():
            started = time.monotonic()
            with pytest.raises(PacsUnreachable):
                echo(node)
            took[letter] = time.monotonic() - started
        assert took[OTHER[right["letter"]]] < 1.5 < took[right["letter"]]

    @pytest.mark.parametrize(
        ("wrong", "words"),
        [
            ({"layer": "association"}, "Does one open?"),
            ({"layer": "host name"}, "is a number"),
            ({"who": "the PACS"}, "Who drops?"),
            ({"who": "we"}, "Somebody else"),
            ({"letter": "x"}, '"A" or "B"'),
        ],
    )
    def test_wrong(self, found, right, wrong, words):
        says(check("drill F", found[right["letter"]], **{**right, **wrong}), words)

    def test_the_other_letter(self, found, right):
        letter = OTHER[right["letter"]]
        says(check("drill F", found[letter], **{**right, "letter": letter}), "at once")

    def test_the_other_diagnosis(self, found, right):
        says(check("drill F", found[OTHER[right["letter"]]], **right), "another node")

    @pytest.mark.parametrize("value", NO_ANSWERS, ids=str)
    def test_no_diagnosis(self, right, value):
        says(check("drill F", value, **right), "found")

    def test_right(self, found, right):
        is_right(check("drill F", found[right["letter"]], **right))


class TestCalledTitle:
    letter = "G"
    right = {"layer": "association", "who": "we"}

    def repaired(self, case):
        title = case.mail.removeprefix("Our AE title is ").split(",")[0]
        return replace(case.node, ae_title=title)

    def test_the_association_is_rejected(self, case):
        with pytest.raises(AssociationRejected, match="Called AE title not recognised"):
            echo(case.node)
        row = diagnose(case.node).stopped_at
        assert (row.layer, row.side) == (self.right["layer"], self.right["who"])

    @pytest.mark.parametrize(
        ("wrong", "words"),
        [
            ({"layer": "TCP"}, "takes connections"),
            ({"layer": "C-ECHO"}, "Does one stand?"),
            ({"who": "the PACS"}, "goes by the title of the mail"),
            ({"who": "the network"}, "it works"),
        ],
    )
    def test_wrong(self, case, wrong, words):
        says(check("drill G", None, **{**self.right, **wrong}), words)

    def test_wrong_nodes(self, case):
        good = self.repaired(case)
        for node, words in (
            (case.node, "the one that is refused"),
            (replace(good, port=104), "Host and port were right"),
            (replace(good, local_ae_title="OTHER"), "our own title"),
            (replace(good, ae_title=good.ae_title.lower()), "Each letter counts"),
        ):
            says(check("drill G", node, **self.right), words)

    @pytest.mark.parametrize("node", NO_ANSWERS, ids=str)
    def test_no_node(self, case, node):
        says(check("drill G", node, **self.right), "Hand in node")

    def test_repaired_node(self, case):
        is_right(check("drill G", self.repaired(case), **self.right))


@pytest.mark.parametrize("name", ["0", "1", "2", "3"])
def test_c_get_brings_nothing_and_c_move_does(name):
    case = drill("H", name=name)
    try:
        with pytest.raises((ServiceNotAccepted, DimseFailure)) as error:
            get_study(case.node, case.study_instance_uid, case.folder, progress=False)
        missing = "context" if error.type is ServiceNotAccepted else "role"
        right = {"missing": missing, "layer": "presentation contexts"}
        wrong = {"context": "role", "role": "context"}[missing]
        says(
            check("drill H", None, **{**right, "missing": wrong}),
            "see diagnose." if wrong == "role" else "What does diagnose say",
        )
        says(check("drill H", None, **{**right, "missing": "both: context, role"}), "missing is")
        says(check("drill H", None, **{**right, "layer": "C-FIND"}), "finds the study")
        says(check("drill H", None, **{**right, "layer": "association"}), "What was agreed")
        says(check("drill H", None, **right), "Which other service")
        with Receiver(case.folder) as receiver:
            case.pacs.know(receiver.node)
            moved = move_study(case.node, case.study_instance_uid, receiver, progress=False)
        is_right(check("drill H", moved, **right))
    finally:
        case.stop()


def test_context_and_role_are_both_met():
    seen = set()
    for name in "0123":
        case = drill("H", name=name)
        seen.add(diagnose(case.node)["C-GET"].outcome)
        case.stop()
    assert seen == {"not offered", "warning"}


class TestNoSharedSyntax:
    letter = "I"
    right = {"syntax": "Explicit VR Little Endian", "layer": "presentation contexts"}

    def test_nothing_is_sent(self, case):
        with pytest.raises(ServiceNotAccepted, match="none of the transfer syntaxes"):
            store(case.node, case.images)

    @pytest.mark.parametrize(
        ("wrong", "words"),
        [
            ({"layer": "association"}, "What was agreed"),
            ({"layer": "C-STORE"}, "store stops before"),
            ({"syntax": "JPEG-LS Lossless"}, "what the PACS takes"),
            ({"syntax": "Implicit VR Little Endian"}, "says explicit"),
            ({"syntax": 7}, "syntax is the name"),
            ({}, "Now compress"),
        ],
    )
    def test_wrong(self, case, wrong, words):
        says(check("drill I", **{**self.right, **wrong}), words)

    def test_compressed(self, case):
        case.images[0].compress(JPEGLSLossless, generate_instance_uid=False)
        assert store(case.node, case.images, progress=False).sent == 1
        is_right(check("drill I", **self.right))


@pytest.mark.parametrize("letter", DRILLS)
def test_a_drill_is_quick_and_leaves_nothing_behind(letter):
    before = threading.active_count()
    started = time.monotonic()
    case = drill(letter, name="Ada")
    assert time.monotonic() - started < 20
    folder, nodes = getattr(case, "folder", None), [getattr(case, "node", None)]
    case.stop()
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert threading.active_count() <= before
    assert folder is None or not folder.exists()
    for node in filter(None, nodes):
        with pytest.raises(PacsUnreachable):
            echo(node)


@pytest.mark.parametrize("letter", DRILLS)
def test_an_answer_without_its_drill(letter):
    drill("G" if letter == "F" else "F").stop()
    form = {"A": (None,), "B": (None,), "C": (None,), "F": (None,), "G": (None,), "H": (None,)}
    answer = check(f"drill {letter}", *form.get(letter, ()), layer="TCP")
    says(answer, f"Drill {letter} is not set up now")


def test_the_answers_differ_between_learners():
    letters = set()
    for name in ("0", "1", "2", "3", "4"):
        case = drill("B", name=name)
        letters.add(case._unknown)
        case.stop()
    assert letters == {"A", "B"}
