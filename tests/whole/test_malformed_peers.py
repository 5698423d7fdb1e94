"""No exception but ours leaves a public verb, whatever bytes the peer sends.

Each seed damages what `OddPacs` sends in one way. With MAGICIAN_SOAK=1 there are many seeds.
"""

import logging
import os
import random
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from odd_pacs import OBJECTS, SERIES_UID, STUDY_UID, OddPacs, accept, encode, item
from pydicom.dataset import Dataset

from magician.client.diagnosis import diagnose
from magician.client.echo import echo
from magician.client.find import find_instances, find_series, find_studies, only_study
from magician.client.retrieve import get_study, move_study
from magician.client.store import accepted_contexts, store
from magician.dimse.receiver import Receiver
from magician.errors import MagicianError
from magician.node import Node

SEEDS = range(100 if os.environ.get("MAGICIAN_SOAK") else 10)
FEW = OBJECTS[:2]
LIMIT_S = 30  # of all calls; each wait for the peer is limited to a fraction of a second
THIRD = Node("THIRD", "127.0.0.1", 11112)


def move_to_receiver(pacs: OddPacs, node: Node, folder) -> object:
    with Receiver(folder) as receiver:
        pacs.know(receiver.node)
        return move_study(node, STUDY_UID, receiver, late_s=0.3, progress=False)


VERBS: dict[str, Callable] = {
    "echo": lambda pacs, node, folder: echo(node),
    "diagnose": lambda pacs, node, folder: diagnose(node),
    "find_studies": lambda pacs, node, folder: find_studies(node, patient_name="Phantom*"),
    "only_study": lambda pacs, node, folder: only_study(find_studies(node)),
    "find_series": lambda pacs, node, folder: find_series(node, STUDY_UID),
    "find_instances": lambda pacs, node, folder: find_instances(node, STUDY_UID, SERIES_UID),
    "get_study": lambda pacs, node, folder: get_study(node, STUDY_UID, folder, progress=False),
    "move_study to a receiver": move_to_receiver,
    "move_study to a node": lambda pacs, node, folder: move_study(node, STUDY_UID, THIRD),
    "accepted_contexts": lambda pacs, node, folder: accepted_contexts(node, FEW),
    "store": lambda pacs, node, folder: store(node, FEW, progress=False),
}


# Ways to damage what a peer sends


def flip(content: bytes, chance: random.Random) -> bytes:
    damaged = bytearray(content)
    for _ in range(chance.randint(1, 6)):
        damaged[chance.randrange(len(damaged))] = chance.randrange(256)
    return bytes(damaged)


def cut_short(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.randrange(len(content))]


def drop_a_piece(content: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(content))
    return content[:start] + content[start + chance.randint(1, 40) :]


def insert_a_piece(content: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(content))
    return content[:start] + chance.randbytes(chance.randint(1, 40)) + content[start:]


def change_a_length(content: bytes, chance: random.Random) -> bytes:
    at, size = chance.randrange(len(content)), chance.choice(["<H", ">H", "<I", ">I"])
    wrong = chance.choice([0, 1, 2, 0x7FFF, 0xFFFF])
    return content[:at] + struct.pack(size, wrong) + content[at + struct.calcsize(size) :]


def change_the_pdu_length(content: bytes, chance: random.Random) -> bytes:
    wrong = chance.choice([0, 1, 5, len(content) * 2, 2**31, 2**32 - 1, chance.randrange(2**16)])
    return content[:2] + struct.pack(">I", wrong) + content[6:]


def noise(content: bytes, chance: random.Random) -> bytes:
    return chance.randbytes(chance.randint(1, 300))


def repeat(content: bytes, chance: random.Random) -> bytes:
    return content * chance.randint(2, 4)


DAMAGE = [
    flip, cut_short, drop_a_piece, insert_a_piece, change_a_length, change_the_pdu_length, noise,
    repeat,
]  # fmt: skip


def damage_a_message(pacs: OddPacs, chance: random.Random) -> None:
    """Damage one of the messages, or each from one on: the association's answer may be meant."""
    first, onwards, way = chance.randint(1, 5), chance.random() < 0.3, chance.choice(DAMAGE)
    count = 0

    def mangle(content: bytes) -> bytes:
        nonlocal count
        count += 1
        return way(content, chance) if count == first or (onwards and count > first) else content

    pacs.mangle = mangle


def damage_the_acceptance(pacs: OddPacs, chance: random.Random) -> None:
    """Answer the association with items that are missing, too long, unknown or empty."""
    text = chance.choice([b"", b"\0", b"\xff" * 5, b"A" * 40, chance.randbytes(16)])
    deviations = {
        "max_length": chance.choice([None, 0, 1, 6, 7, 20, 2**32 - 1]),
        "class_uid": chance.choice([None, text]),
        "version": chance.choice([None, text]),
        "roles": chance.choice(["agree", "refuse", "silent"]),
        "titles": chance.choice([None, bytes(32), b" " * 32, chance.randbytes(32)]),
        "more_items": item(chance.randrange(256), text),
        "more_user_items": item(chance.randrange(256), text),
        "application_context": chance.choice([text, b"1.2.840.10008.3.1.1.1\0"]),
        "protocol": chance.choice([0, 1, 2, 3, 65535]),
    }
    pacs.accept = partial(accept, **dict(chance.sample(sorted(deviations.items()), 2)))


def damage_a_command_set(pacs: OddPacs, chance: random.Random) -> None:
    """Drop an element of each response, empty it, or give it a value of another kind."""
    number = chance.choice([0x0002, 0x0100, 0x0120, 0x0800, 0x0900, 0x1000, 0x1020, 0x1021, 0x1022])
    values = [None, b"", b"\1", b"\0\0\0", b"\xff\xff", b"1.2.840.10008.1.1\0", chance.randbytes(9)]
    value = chance.choice(values)
    more = chance.choice(
        [{}, {0x0902: b"\xff" * 80}, {0x0901: b"\1"}, {0x0903: chance.randbytes(3)}]
    )

    def edit(request, elements: dict[int, bytes]) -> None:
        elements.update(more)
        if value is None:
            elements.pop(number, None)
        else:
            elements[number] = value

    pacs.edit_response = edit


def damage_the_answers(pacs: OddPacs, chance: random.Random) -> None:
    """Damage the data sets of a C-FIND, with lengths that still fit the message."""
    way = chance.choice(DAMAGE)
    pacs.edit_answer = lambda request, answer: way(encode(answer), chance) or b"\0"


def odd_values_in_the_answers(pacs: OddPacs, chance: random.Random) -> None:
    """Give the elements of an answer values of other kinds, or drop them."""
    odd = ["", "abc", "1\\2", "-1", "9" * 70, "../../x", "\0\0", "ä" * 5, "1.2.3 ", "2020.01.02"]

    def edit(request, answer: Dataset) -> bytes:
        content = b""
        for element in answer:
            raw = encode(_only(element))
            if chance.random() < 0.3:
                value = chance.choice(odd).encode()
                value += b" " * (len(value) % 2)
                raw = raw[:6] + struct.pack("<H", len(value)) + value
            content += raw if chance.random() > 0.1 else b""
        return content or b"\0"

    pacs.edit_answer = edit


def _only(element) -> Dataset:
    dataset = Dataset()
    dataset[element.tag] = element
    return dataset


def odd_statuses(pacs: OddPacs, chance: random.Random) -> None:
    """End queries, retrieves and storage with any status, and any counters."""
    statuses = [0x0000, 0x0001, 0x0107, 0x0122, 0xA700, 0xA900, 0xB000, 0xC000, 0xFE00, 0xFF01]
    pacs.find_ends = dict.fromkeys(["STUDY", "SERIES", "IMAGE"], chance.choice(statuses))
    counters = chance.choice([None, (0, 0, 0, 0), (9, 9, 9, 9), (65535, 65535, 65535, 65535)])
    # after a final response that is Pending, silence follows
    pacs.final = {"status": chance.choice([*statuses, 0xFF00]), "counters": counters}
    pacs.store_status = chance.choice(statuses)


KINDS = [
    damage_a_message, damage_the_acceptance, damage_a_command_set, damage_the_answers,
    odd_values_in_the_answers, odd_statuses,
]  # fmt: skip


def call(verb: str, kind: Callable, seed: int, folder: Path) -> None:
    """Call a verb; what it returns must also print, and an error of ours must have words."""
    pacs = OddPacs(objects=FEW)
    kind(pacs, random.Random(f"{verb} {kind.__name__} {seed}"))
    try:
        with pacs as node:
            words = str(VERBS[verb](pacs, replace(node, associate_s=0.3, dimse_s=0.3), folder))
    except MagicianError as error:
        words = str(error)
    except Exception as error:
        error.add_note(f"{verb}, {kind.__name__}, seed {seed}")
        raise
    assert words


@pytest.mark.parametrize("verb", VERBS)
def test_no_exception_but_ours_leaves_a_public_verb(verb, tmp_path, caplog):
    caplog.set_level(logging.CRITICAL)
    # they wait for their peers side by side
    pool = ThreadPoolExecutor(max_workers=20)
    cases = [(kind, seed) for kind in KINDS for seed in SEEDS]
    calls = [
        pool.submit(call, verb, kind, seed, tmp_path / f"{kind.__name__} {seed}")
        for kind, seed in cases
    ]
    finished, running = wait(calls, LIMIT_S * len(SEEDS) / 10)
    pool.shutdown(wait=not running, cancel_futures=True)
    assert not running, f"still running: {[cases[calls.index(one)] for one in running]}"
    for one in finished:
        one.result()
