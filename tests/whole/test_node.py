"""The address of a peer: titles and hosts with spaces around them, and what is none."""

import pytest

from magician.node import Node, check_ae_title


@pytest.mark.parametrize(
    "title", ["PACS", " PACS", "PACS ", "PACS\0\0", " " * 8 + "PACS" + " " * 8]
)
def test_what_is_around_a_title_does_not_count(title):
    node = Node(title, " 127.0.0.1 ", 104, local_ae_title=title)
    assert node == Node("PACS", "127.0.0.1", 104, local_ae_title="PACS")
    assert check_ae_title(title) == "PACS"


def test_a_space_within_a_title_counts():
    assert Node("MY  PACS ", "127.0.0.1", 104).ae_title == "MY  PACS"


@pytest.mark.parametrize(
    "title", ["", " ", "\0", "A\0B", "A\\B", "SEVENTEEN_LETTERS", "PÄCS", "PACS\n", None, 5]
)
def test_what_is_no_title_is_refused_in_words(title):
    with pytest.raises(ValueError, match="is not an AE title: 1 to 16 plain characters"):
        Node(title, "127.0.0.1", 104)


@pytest.mark.parametrize("host", ["", " ", None, 5])
def test_what_is_no_host_is_refused_in_words(host):
    with pytest.raises(ValueError, match="is not a host name or an IP address"):
        Node("PACS", host, 104)


@pytest.mark.parametrize(
    ("text", "node"),
    [
        (" PACS@h:104", Node("PACS", "h", 104)),
        ("PACS @ h :104 ", Node("PACS", "h", 104)),
        ("MY PACS@[::1]:104", Node("MY PACS", "::1", 104)),
        ("A@B@h_1.x:104", Node("A@B", "h_1.x", 104)),
    ],
)
def test_an_address_in_one_text(text, node):
    assert Node.parse(text) == node
