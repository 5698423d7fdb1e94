"""The PDUs that open, refuse or abort an association, rewritten so that pynetdicom can decode them.

pynetdicom decodes an A-ASSOCIATE-RQ or -AC strictly: one item that it does not know, or one name
that is too long, ends the association. `normalise` writes the same PDU anew, with what the standard
wants skipped left out (PS3.8 9.3.1), and with what deviates repaired or left out, and said. It
takes any bytes and raises nothing.

The structure is that of PS3.8 9.3.2 to 9.3.4, 9.3.8 and Annex D, and of PS3.7 Annex D.3.3.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

REQUEST, ACCEPTANCE, REJECTION, ABORT = 0x01, 0x02, 0x03, 0x07  # types of PDU
HEADER_BYTES, FIXED_BYTES = 6, 74  # up to the length; up to the first item
# Types of items, and of what is in them
APPLICATION_CONTEXT, PROPOSED_CONTEXT, CONTEXT_RESULT, USER_INFORMATION = 0x10, 0x20, 0x21, 0x50
ABSTRACT_SYNTAX, TRANSFER_SYNTAX = 0x30, 0x40
MAXIMUM_LENGTH, CLASS_UID, ROLE, VERSION_NAME = 0x51, 0x52, 0x54, 0x55
DICOM_APPLICATION = b"1.2.840.10008.3.1.1.1"
# Stand for a name that is no UID, so that its context is refused with the right reason: the one is
# no SOP class of anybody, the other no transfer syntax.
NO_SERVICE, NO_SYNTAX = DICOM_APPLICATION, b"2.25.0"
NO_TITLE = b"(no title)"  # stands for a blank AE title
# How much we send at a time to a peer that states no maximum: its PDUs, with their header, then fit
# into the 16 KiB that the common toolkits take if nobody tells them otherwise.
UNSTATED_MAXIMUM = 16 * 1024 - HEADER_BYTES
TOO_SMALL = range(1, 7)  # bytes, into which no message fits (PS3.8 D.1.1)
USER_REJECTION, SYNTAXES_NOT_SUPPORTED = 1, 4  # results of a context (PS3.8 Table 9-18)
UID_FORM = re.compile(rb"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))*")  # PS3.5 9.1
MOST_DEVIATIONS = 8  # that are told of one PDU
LEGAL_REJECTIONS = {(1, 1), (1, 2), (1, 3), (1, 7), (2, 1), (2, 2), (3, 1), (3, 2)}  # Table 9-21
LEGAL_ABORTS = {0, 1, 2, 4, 5, 6}  # reasons of a service provider (Table 9-26)


@dataclass
class Normalised:
    """What became of a PDU.

    Attributes
    ----------
    data : bytes
        The PDU, with its header, as pynetdicom decodes it.
    calling : str
        The AE title of the caller, as far as it can be read; empty if it can't.
    deviations : list of str
        What was repaired or left out.
    fault : str
        Why the PDU can't be taken, in words; empty if it can.
    numbers : tuple of int
        Of an A-ASSOCIATE-RJ result, source and reason as they came; of an A-ABORT source and
        reason.
    """

    data: bytes
    calling: str = ""
    deviations: list[str] = field(default_factory=list)
    fault: str = ""
    numbers: tuple[int, ...] = ()


def normalise(pdu: bytes, proposed: Mapping[int, Sequence[str]]) -> Normalised:
    """Write a PDU anew so that pynetdicom can decode it; PDUs of other types stay as they are.

    Parameters
    ----------
    pdu : bytes
        With its header of 6 bytes.
    proposed : mapping of int to sequence of str
        What an A-ASSOCIATE-AC answers: the transfer syntaxes that we proposed, by the ID of their
        presentation context.
    """
    if pdu[0] in (REQUEST, ACCEPTANCE):
        return _Association(pdu, proposed).normalised
    if pdu[0] == REJECTION:
        _, result, source, reason = pdu[HEADER_BYTES:].ljust(4, b"\0")[:4]
        legal = (source, reason) if (source, reason) in LEGAL_REJECTIONS else (1, 1)
        body = bytes((0, 2 if result == 2 else 1, *legal))
        return Normalised(_pdu(REJECTION, body), numbers=(result, source, reason))
    if pdu[0] == ABORT:
        _, _, source, reason = pdu[HEADER_BYTES:].ljust(4, b"\0")[:4]
        legal = (source, reason) if source == 2 and reason in LEGAL_ABORTS else (min(source, 1), 0)
        return Normalised(_pdu(ABORT, bytes((0, 0, *legal))), numbers=(source, reason))
    return Normalised(pdu)


class _Association:
    """An A-ASSOCIATE-RQ or -AC while it is being rewritten."""

    def __init__(self, pdu: bytes, proposed: Mapping[int, Sequence[str]]) -> None:
        self._is_request, self._proposed = pdu[0] == REQUEST, proposed
        self._context_ids: set[int] = set()
        self.normalised = Normalised(pdu)
        if len(pdu) < FIXED_BYTES:
            self._refuse(f"it has {len(pdu)} bytes, and its fixed part alone has {FIXED_BYTES}")
            return
        fixed, items = self._fixed_part(pdu), self._items(pdu[FIXED_BYTES:], "the message")
        contexts = self._contexts(items)
        body = fixed + self._application_context(items) + contexts + self._user_information(items)
        self.normalised.data = _pdu(pdu[0], body)
        if not contexts:
            verb = "proposes" if self._is_request else "answers"
            self._refuse(f"it {verb} no presentation context that can be read")

    def _tell(self, deviation: str) -> None:
        told = self.normalised.deviations
        if len(told) < MOST_DEVIATIONS and deviation not in told:
            told.append(deviation)

    def _refuse(self, fault: str) -> None:
        deviations = "".join(f"; {deviation}" for deviation in self.normalised.deviations)
        self.normalised.fault = self.normalised.fault or fault + deviations

    def _fixed_part(self, pdu: bytes) -> bytes:
        """Protocol version and titles; only the first bit of the version counts (PS3.8 9.3.2)."""
        version = int.from_bytes(pdu[6:8], "big")
        if version & 1:
            version = 1
        elif self._is_request:
            self._tell(f"its protocol version is 0x{version:04X}, and there is only version 1")
        called, calling = (_plain_text(title) for title in (pdu[10:26], pdu[26:42]))
        self.normalised.calling = calling.decode()
        if self._is_request:
            self._compare("called AE title", called, pdu[10:26])
            self._compare("calling AE title", calling, pdu[26:42])
            called, calling = called or NO_TITLE, calling or NO_TITLE
        return struct.pack(">HH16s16s32x", version, 0, called.ljust(16), calling.ljust(16))

    def _compare(self, name: str, text: bytes, came: bytes) -> None:
        if not text or text != came.strip(b" "):
            self._tell(f"its {name} is {came[:64]!r}")

    def _items(self, content: bytes, place: str) -> list[tuple[int, bytes]]:
        """Return what follows one another in `content`, as pairs of type and content."""
        found, start = [], 0
        while start + 4 <= len(content):
            kind, length = content[start], int.from_bytes(content[start + 2 : start + 4], "big")
            body = content[start + 4 : start + 4 + length]
            start += 4 + length
            if len(body) < length:
                self._tell(
                    f"an item 0x{kind:02X} of {place} says that it has {length} bytes, and "
                    f"{len(body)} follow"
                )
                if kind != USER_INFORMATION:  # the first items in it may be whole
                    break
            found.append((kind, body))
        return found

    def _application_context(self, items: list[tuple[int, bytes]]) -> bytes:
        names = [_uid(body) for kind, body in items if kind == APPLICATION_CONTEXT]
        if not any(names):
            self._tell("it has no application context name")
        return _item(APPLICATION_CONTEXT, next(filter(None, names), DICOM_APPLICATION))

    def _contexts(self, items: list[tuple[int, bytes]]) -> bytes:
        wanted = PROPOSED_CONTEXT if self._is_request else CONTEXT_RESULT
        rewrite = self._proposal if self._is_request else self._result
        written = b""
        for kind, body in items:
            if kind != wanted:
                continue
            if len(body) < 4:
                self._tell(f"a presentation context has {len(body)} bytes")
            elif body[0] % 2 == 0:
                self._tell(f"a presentation context has the even ID {body[0]} (PS3.8 9.3.2.2)")
            elif body[0] in self._context_ids:
                self._tell(f"two presentation contexts have the ID {body[0]}; the first counts")
            else:
                self._context_ids.add(body[0])
                written += rewrite(body)
        return written

    def _syntaxes(self, body: bytes, wanted: int) -> list[bytes]:
        """Return the UIDs of one kind that a presentation context names."""
        place = f"presentation context {body[0]}"
        named = [content for kind, content in self._items(body[4:], place) if kind == wanted]
        for content in named:
            if not _uid(content):
                self._tell(f"{place} names {content[:64]!r}, which is no UID")
        return [uid for uid in map(_uid, named) if uid]

    def _proposal(self, body: bytes) -> bytes:
        abstract = self._syntaxes(body, ABSTRACT_SYNTAX) or [NO_SERVICE]
        syntaxes = self._syntaxes(body, TRANSFER_SYNTAX) or [NO_SYNTAX]
        named = [_item(TRANSFER_SYNTAX, syntax) for syntax in dict.fromkeys(syntaxes)]
        content = bytes((body[0], 0, 0, 0)) + _item(ABSTRACT_SYNTAX, abstract[0]) + b"".join(named)
        return _item(PROPOSED_CONTEXT, content) if len(content) <= 0xFFFF else b""

    def _result(self, body: bytes) -> bytes:
        context_id, result = body[0], body[2]
        if context_id not in self._proposed:
            self._tell(f"it answers presentation context {context_id}, which we did not propose")
            return b""
        ours = [syntax.encode() for syntax in self._proposed[context_id]]
        syntax = ours[0]
        if result == 0:  # only then it names a transfer syntax (PS3.8 9.3.3.2)
            named = self._syntaxes(body, TRANSFER_SYNTAX)
            syntax = named[0] if named else syntax
            if not named:
                self._tell(f"presentation context {context_id} is accepted without transfer syntax")
            if syntax not in ours or (not named and len(ours) > 1):
                if named:
                    self._tell(
                        f"presentation context {context_id} is accepted in {syntax.decode()}, "
                        f"which we did not propose"
                    )
                result, syntax = SYNTAXES_NOT_SUPPORTED, ours[0]
        elif result > SYNTAXES_NOT_SUPPORTED:
            self._tell(f"presentation context {context_id} has the result {result}")
            result = USER_REJECTION
        content = bytes((context_id, 0, result, 0)) + _item(TRANSFER_SYNTAX, syntax)
        return _item(CONTEXT_RESULT, content)

    def _user_information(self, items: list[tuple[int, bytes]]) -> bytes:
        """Write all user information as one item; what is in it may also stand beside it, where the
        length of the item is too small.
        """
        inside = []
        for kind, body in items:
            if kind == USER_INFORMATION:
                inside += self._items(body, "the user information")
            elif kind in SUB_ITEMS:
                self._tell(f"an item 0x{kind:02X} stands outside the user information")
                inside.append((kind, body))
        written, seen = b"", set()
        for kind, body in inside:
            if kind not in SUB_ITEMS or (kind != ROLE and kind in seen):
                continue
            content = SUB_ITEMS[kind](body)
            if kind == VERSION_NAME and body.strip(b"\0 "):  # an empty one is usual
                self._compare("implementation version name", content, body.strip(b"\0"))
            if content is None:
                self._tell(f"an item 0x{kind:02X} of the user information is malformed")
            elif len(written) + len(content) < 0xFF00:
                seen.add(kind)
                written += _item(kind, content)
                if kind == MAXIMUM_LENGTH and self._is_request:
                    self._require_room(int.from_bytes(content, "big"))
        if MAXIMUM_LENGTH not in seen:
            self._tell(f"it states no maximum length, and gets {UNSTATED_MAXIMUM} bytes at a time")
            written = _item(MAXIMUM_LENGTH, UNSTATED_MAXIMUM.to_bytes(4, "big")) + written
        return _item(USER_INFORMATION, written)

    def _require_room(self, most: int) -> None:
        if most in TOO_SMALL:
            self._refuse(f"it takes {most} bytes at a time, into which no message fits")


def _pdu(kind: int, body: bytes) -> bytes:
    return struct.pack(">BxI", kind, len(body)) + body


def _item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(body)) + body


def _uid(content: bytes) -> bytes:
    """Return a UID without its padding; empty if it is none (PS3.5 9.1)."""
    uid = content.strip(b"\0 ")
    return uid if len(uid) <= 64 and UID_FORM.fullmatch(uid) else b""


def _plain_text(content: bytes) -> bytes:
    """Return a text without padding, with the characters that an AE title may have, 16 of them at
    most; a question mark stands for each other (PS3.5 6.2).
    """
    text = content.strip(b"\0 ").split(b"\0")[0]
    return bytes(c if 0x20 <= c <= 0x7E and c != 0x5C else 0x3F for c in text)[:16].strip()


# What is in the user information, rewritten; None if it is malformed


def _maximum_length(body: bytes) -> bytes | None:
    return body if len(body) == 4 else None


def _class_uid(body: bytes) -> bytes | None:
    return _uid(body) or None


def _role(body: bytes) -> bytes | None:
    """A UID that begins with its length, then whether it is for the SCU, and for the SCP."""
    length = int.from_bytes(body[:2], "big")
    uid, roles = _uid(body[2 : 2 + length]), body[2 + length : 4 + length]
    if not uid or len(roles) < 2 or max(roles) > 1:
        return None
    return len(uid).to_bytes(2, "big") + uid + roles


# Of the user information, what somebody here reads (PS3.8 D.1, PS3.7 D.3.3.2 and D.3.3.4). The
# rest may be skipped: nobody here negotiates asynchronous operations, extensions or identities.
SUB_ITEMS = {
    MAXIMUM_LENGTH: _maximum_length,
    CLASS_UID: _class_uid,
    ROLE: _role,
    VERSION_NAME: _plain_text,
}
