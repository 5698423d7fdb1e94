"""The privacy rule: what may lie on which host, and what may be sent there."""

import pytest
from pydicom import Dataset

from magician.errors import NotDeidentified
from magician.node import Node
from magician.privacy import may_hold, refuse_identified, refuse_unseen_move, says_deidentified

HERE, ELSEWHERE = Node("HERE", "127.0.0.1", 104), Node("ELSEWHERE", "192.0.2.1", 104)


def header(claim: str | None) -> Dataset:
    dataset = Dataset()
    if claim is not None:
        dataset.PatientIdentityRemoved = claim
    return dataset


MARKED, UNMARKED = header("YES"), header(None)


@pytest.mark.parametrize("claim", ["NO", "", None])
def test_only_yes_says_that_an_object_is_deidentified(claim):
    assert says_deidentified(MARKED)
    assert not says_deidentified(header(claim))


def test_only_this_computer_may_hold_identified_objects():
    assert may_hold(HERE.host, [MARKED, UNMARKED])
    assert may_hold(ELSEWHERE.host, [MARKED])
    assert not may_hold(ELSEWHERE.host, [MARKED, UNMARKED])


def test_identified_objects_are_counted_and_refused():
    refuse_identified([UNMARKED], HERE.host, "HERE")
    refuse_identified([MARKED], ELSEWHERE.host, "ELSEWHERE")
    refuse_identified([UNMARKED], ELSEWHERE.host, "ELSEWHERE", allow_identified=True)
    with pytest.raises(NotDeidentified, match=r"2 object\(s\) .* ELSEWHERE is not this computer"):
        refuse_identified([UNMARKED, MARKED, UNMARKED], ELSEWHERE.host, "ELSEWHERE")


@pytest.mark.parametrize(
    ("source", "destination"), [(HERE, ELSEWHERE), (ELSEWHERE, HERE), (ELSEWHERE, ELSEWHERE)]
)
def test_a_move_that_we_can_not_see_needs_the_word_of_the_caller(source, destination):
    refuse_unseen_move(HERE, HERE)
    refuse_unseen_move(source, destination, allow_identified=True)
    with pytest.raises(NotDeidentified, match="objects that we can't see"):
        refuse_unseen_move(source, destination)
