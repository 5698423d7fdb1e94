"""The page of a PACS as a notebook cell shows it."""

import pytest

from magician.errors import MagicianError
from magician.practice_pacs.pacs import PracticePacs
from magician.web.page import WebPage
from magician.web.shown_page import show_page

ON_LOOPBACK = "http://127.0.0.1:8080/"
ELSEWHERE = "http://192.0.2.7:8080/?word=abcd2345"


def shown(page, monkeypatch):
    """What a notebook gets to show."""
    data = []
    monkeypatch.setattr("IPython.display.display", lambda bundle, raw: data.append(bundle))
    page._ipython_display_()
    return data[0]


def test_the_page_of_a_pacs_of_this_notebook_is_its_one_page(pacs):
    assert show_page(pacs) is WebPage.shared(pacs)
    assert show_page(show_page(pacs)) is WebPage.shared(pacs)


def test_a_class_pacs_on_this_computer_is_a_frame(monkeypatch):
    data = shown(show_page(ON_LOOPBACK), monkeypatch)
    assert data["text/plain"] == "The web page of the class PACS"
    assert f'<iframe src="{ON_LOOPBACK}"' in data["text/html"]


def test_a_class_pacs_on_another_computer_is_a_link(monkeypatch):
    data = shown(show_page(f"  {ELSEWHERE}\n"), monkeypatch)
    assert data["text/plain"] == "The web page of the class PACS"
    assert f'<a href="{ELSEWHERE}"' in data["text/html"]
    assert "<iframe" not in data["text/html"]


def test_on_a_hub_the_frame_goes_through_its_proxy(monkeypatch):
    monkeypatch.setenv("JUPYTERHUB_SERVICE_PREFIX", "/user/ada/")
    html = shown(show_page(ON_LOOPBACK), monkeypatch)["text/html"]
    assert '<iframe src="/user/ada/proxy/8080/"' in html


@pytest.mark.parametrize(
    "address",
    [
        "", "CLASS@127.0.0.1:11112", "127.0.0.1:8080", "javascript:alert(1)", "file:///etc/passwd",
        "http://", "http://127.0.0.1:eleven/", "http://ada:secret@127.0.0.1/", "http://a b/",
        "http://127.0.0.1:8080/\x00", "http://[::1", "http://127.0.0.1/" + "x" * 1000,
    ],
)  # fmt: skip
def test_what_is_no_address_of_a_page_is_refused_in_a_sentence(address):
    with pytest.raises(ValueError, match="is not the address of a web page"):
        show_page(address)


@pytest.mark.parametrize("other", [None, 8080, ["http://127.0.0.1/"], b"http://127.0.0.1/"])
def test_something_else_is_refused_in_a_sentence(other):
    with pytest.raises(ValueError, match=f"this is a {type(other).__name__}"):
        show_page(other)


def test_a_pacs_that_is_stopped_is_named():
    with pytest.raises(MagicianError, match="is not started|was stopped"):
        show_page(PracticePacs())


def test_quotes_in_an_address_stay_inside_the_link(monkeypatch):
    html = shown(show_page('http://192.0.2.7/?word="><b>x</b>'), monkeypatch)["text/html"]
    assert "<b>" not in html
