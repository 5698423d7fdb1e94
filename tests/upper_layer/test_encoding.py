"""What we encode ourselves for speed is byte for byte what pynetdicom encodes."""

import pytest
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, JPEG2000Lossless
from pynetdicom.dimse_messages import C_STORE_RSP
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import create_file_meta, encode_file_meta

from magician.upper_layer.encoding import c_store_response, file_meta

EVEN, ODD = "1.2.34", "1.2.345"


@pytest.mark.parametrize("instance", [EVEN, ODD, "1." * 31 + "10"])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, JPEG2000Lossless])
def test_file_meta_information(instance, syntax):
    theirs = create_file_meta(
        sop_class_uid=CTImageStorage, sop_instance_uid=UID(instance), transfer_syntax=syntax
    )
    assert file_meta(CTImageStorage, instance, syntax) == bytes(128) + b"DICM" + encode_file_meta(
        theirs
    )


@pytest.mark.parametrize("instance", [EVEN, ODD])
@pytest.mark.parametrize(
    ("status", "comment"), [(0x0000, ""), (0xA700, "No room."), (0xC000, "No rows"), (0xC000, "")]
)
def test_answer_to_a_c_store(instance, status, comment):
    primitive = C_STORE()
    primitive.MessageID = primitive.MessageIDBeingRespondedTo = 65535
    primitive.AffectedSOPClassUID, primitive.AffectedSOPInstanceUID = CTImageStorage, instance
    primitive.Status, primitive.ErrorComment = status, comment or None
    message = C_STORE_RSP()
    message.primitive_to_message(primitive)
    (fragment,) = message.encode_msg(1, 0)
    [(_, theirs)] = fragment.presentation_data_value_list
    # after the message control header
    assert c_store_response(65535, CTImageStorage, instance, status, comment) == theirs[1:]
