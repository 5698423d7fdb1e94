"""The repairs of an association are applied by one function, once, and in one order."""

import ast
from pathlib import Path

import pytest
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.sop_class import Verification

import magician
from magician.dimse.association import associate
from magician.practice_pacs.pacs import PracticePacs
from magician.upper_layer import acceptor, reactor_fixes, requestor

STEPS = ["repair_checkpoint", "read_pdus_in_words", "end_on_broken_messages",
         "end_on_unreadable_commands", "end_on_failed_requests", "repair_waiting",
         "speed_up"]  # fmt: skip


@pytest.mark.parametrize(("mode", "expected"), [("requestor", STEPS), ("acceptor", STEPS[1:])])
def test_the_order_of_the_repairs(mode, expected, monkeypatch):
    applied = []
    for step in STEPS:
        monkeypatch.setattr(reactor_fixes, step, lambda _, step=step: applied.append(step))
    reactor_fixes.prepare_association(Association(AE(), mode))
    assert applied == expected


def test_both_sides_of_an_association_are_prepared_once(monkeypatch):
    prepared, original = [], reactor_fixes.prepare_association

    def prepare(association):
        prepared.append(association.mode)
        original(association)

    monkeypatch.setattr(requestor, "prepare_association", prepare)
    monkeypatch.setattr(acceptor, "prepare_association", prepare)
    with PracticePacs() as pacs, associate(pacs.node, [Verification]):
        pass
    assert sorted(prepared) == ["acceptor", "requestor"]


def test_no_name_of_pynetdicom_is_replaced_in_two_places():
    replaced = []
    for path in (Path(magician.__file__).parent / "upper_layer").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            for target in node.targets if isinstance(node, ast.Assign) else []:
                if isinstance(target, ast.Attribute) and ast.unparse(target.value) != "self":
                    replaced.append(target.attr)
    replaced = [name for name in replaced if name not in ("result", "socket")]
    assert "get_msg" in replaced
    assert sorted(replaced) == sorted(set(replaced))
