"""Whatever the bytes of an association's PDUs are: they are rewritten, or refused in words, and
pynetdicom decodes what is left.
"""

import random
import time
import warnings

import pytest
from odd_callers import CLASS_UID, USER, context, request
from odd_pacs import item, pdu
from pynetdicom.pdu import A_ABORT_RQ, A_ASSOCIATE_AC, A_ASSOCIATE_RJ, A_ASSOCIATE_RQ

from magician.upper_layer.association_pdu import MOST_DEVIATIONS, normalise

PROPOSED = {1: ["1.2.840.10008.1.2"], 3: ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1"]}
ROLES = item(0x54, b"\0\x111.2.840.10008.1.1\1\1")
EXTRAS = item(0x53, b"\0\1\0\1") + item(0x55, b"NAME_1") + item(0x58, b"\2\0\0\1a\0\1b")
REQUEST = request(contexts=context() + context(3), user=USER + ROLES + EXTRAS)
RESULTS = b"".join(
    item(0x21, bytes((number, 0, 0, 0)) + item(0x40, b"1.2.840.10008.1.2")) for number in PROPOSED
)
ACCEPTANCE = pdu(
    0x02,
    REQUEST[6:74] + item(0x10, b"1.2.840.10008.3.1.1.1") + RESULTS + item(0x50, USER + ROLES),
)
DECODERS = {1: A_ASSOCIATE_RQ, 2: A_ASSOCIATE_AC, 3: A_ASSOCIATE_RJ, 7: A_ABORT_RQ}


def decoded(data):
    """Decode as pynetdicom does, and make its state machine's primitive of it."""
    found = DECODERS[data[0]]()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found.decode(data)
        return found.to_primitive()


def damaged(data, dice):
    victim = bytearray(data)
    for _ in range(dice.choice([1, 1, 2, 5, 30])):
        place, harm = dice.randrange(6, len(victim)), dice.randrange(5)
        if harm == 0:
            victim[place] = dice.randrange(256)
        elif harm == 1:
            victim[place] = dice.choice([0, 1, 2, 4, 0x10, 0x20, 0x21, 0x40, 0x50, 0x54, 0xFF])
        elif harm == 2:
            victim[place:place] = dice.randbytes(dice.randrange(1, 20))
        elif harm == 3 and len(victim) > 40:
            del victim[place : place + dice.randrange(1, 20)]
        else:
            piece = bytes(victim[place : place + dice.randrange(60)])
            victim[place:place] = piece
        if len(victim) < 8:
            break
    return bytes(victim)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("whole", [REQUEST, ACCEPTANCE], ids=["request", "acceptance"])
def test_damaged_bytes_are_decoded_or_refused_in_words(whole, seed):
    dice, decodable = random.Random(seed), 0
    for _ in range(400):
        normalised = normalise(damaged(whole, dice), PROPOSED)
        assert len(normalised.deviations) <= MOST_DEVIATIONS
        if normalised.fault:
            assert len(normalised.fault) < 2000
            continue
        decodable += 1
        primitive = decoded(normalised.data)
        assert primitive.maximum_length_received is not None
    assert decodable > 100  # most of it is not refused


@pytest.mark.parametrize("seed", range(3))
def test_rubbish_raises_nothing(seed):
    dice = random.Random(seed)
    for _ in range(500):
        kind = dice.choice([1, 2, 3, 7])
        normalised = normalise(bytes((kind,)) + dice.randbytes(dice.randrange(5, 400)), PROPOSED)
        if not normalised.fault:
            decoded(normalised.data)


@pytest.mark.parametrize("whole", [REQUEST, ACCEPTANCE], ids=["request", "acceptance"])
def test_each_length_at_which_a_message_may_be_cut(whole):
    for length in range(6, len(whole)):
        normalised = normalise(whole[:length], PROPOSED)
        if not normalised.fault:
            decoded(normalised.data)


def test_what_follows_the_standard_stays_as_it_is():
    plain = request(called=b"PACS", user=USER + item(0x55, b"NAME_1"))
    normalised = normalise(plain, {})
    assert (normalised.data, normalised.deviations, normalised.fault) == (plain, [], "")


def test_a_message_as_large_as_we_take_is_read_in_no_time():
    for filler in (item(0x60, b""), context(1), item(0x50, CLASS_UID * 100)):
        huge = request(more=filler * (2**20 // len(filler)))
        started = time.monotonic()
        normalise(huge, {})
        assert time.monotonic() - started < 5


@pytest.mark.parametrize("kind", [0x03, 0x07])
def test_all_numbers_of_a_refusal_and_of_an_abort(kind):
    for numbers in ((a, b) for a in range(256) for b in (0, 1, 2, 3, 7, 8, 255)):
        decoded(normalise(pdu(kind, bytes((0, 1, *numbers))), {}).data)
