"""What learners do, each time with one sentence as the answer that says what to do."""

from __future__ import annotations

import pytest

from magician import MagicianError, PacsUnreachable, PracticePacs, Receiver, echo


def test_a_practice_pacs_that_the_clean_up_cell_has_stopped():
    with PracticePacs() as practice:
        node = practice.node
    sentence = (
        "PRACTICE that was there has been stopped, perhaps by the clean-up cell. In lesson 01, "
        "Cell 3 starts it again and Cell 3a fills it; then run this cell again."
    )
    with pytest.raises(PacsUnreachable) as caught:
        echo(node)
    assert sentence in str(caught.value)
    with pytest.raises(MagicianError, match="PRACTICE has been stopped.*Cell 3 starts it again"):
        _ = practice.node


def test_the_second_pacs_is_started_by_another_cell():
    with PracticePacs(ae_title="SECOND") as second:
        node = second.node
    with pytest.raises(PacsUnreachable, match="Cell 12 starts it again and Cell 13 fills it"):
        echo(node)


def test_a_practice_pacs_that_listens_again_where_one_was_stopped(tmp_path):
    with PracticePacs() as practice:
        node = practice.node
    with PracticePacs(port=node.port) as again:
        assert echo(again.node) == 0
    with Receiver(tmp_path) as receiver:
        never_a_pacs = receiver.node
    with pytest.raises(PacsUnreachable, match=r"Nothing listens on 127.0.0.1:\d+\. Is the PACS"):
        echo(never_a_pacs)
