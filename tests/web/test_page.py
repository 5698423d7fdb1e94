"""The web page: where it listens, how long, and how a notebook shows it."""

import http.client
import socket
import sys
import threading
import types
from pathlib import Path

import pytest
from web_requests import ask, picture_path

from magician.errors import MagicianError
from magician.practice_pacs.pacs import PracticePacs
from magician.web.frame import HEIGHT
from magician.web.page import WebPage, serve


def test_it_listens_on_loopback_only(page):
    listening = Path("/proc/net/tcp")
    if not listening.exists():
        pytest.skip("which addresses are listened on is read from Linux's /proc")
    local = [
        line.split()[1]
        for line in listening.read_text().splitlines()[1:]
        if line.split()[3] == "0A"
    ]
    assert [address for address in local if address.endswith(f":{page.port:04X}")] == [
        f"0100007F:{page.port:04X}"
    ]


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", ""])
def test_it_reaches_no_further_than_its_pacs(pacs, host):
    with pytest.raises(ValueError, match=r"could be seen from other computers.*Leave the host out"):
        serve(pacs, host=host)


def test_beyond_loopback_with_its_pacs(monkeypatch):
    """Not tried on a real address: the PACS only says that it is reached from other computers."""
    monkeypatch.setattr(PracticePacs, "beyond_loopback", True)
    with (
        PracticePacs() as pacs,
        pytest.raises(MagicianError, match="The host must be an address of this computer"),
    ):
        serve(pacs, host="192.0.2.1")
    with PracticePacs() as pacs, pytest.raises(ValueError, match="every address of this computer"):
        serve(pacs, host="")


def test_a_port_that_is_taken(pacs, own_page):
    with pytest.raises(
        MagicianError, match=r"can't listen on 127\.0\.0\.1:\d+ \(.*\)\. Stop what uses this port"
    ):
        serve(pacs, port=own_page.port)


def test_stopped_it_frees_its_port_and_its_threads(pacs, series):
    pacs.add(series)
    before = set(threading.enumerate())
    page = serve(pacs)
    port = page.port
    idle = socket.create_connection(("127.0.0.1", port))
    assert ask(page, picture_path(series[0])).status == 200
    assert set(threading.enumerate()) > before
    page.stop()
    page.stop()
    assert set(threading.enumerate()) <= before
    assert idle.recv(1) == b""  # the other side has closed it
    idle.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    with pytest.raises(MagicianError, match="This web page is stopped"):
        _ = page.url
    with WebPage(pacs, port=port) as again:
        assert ask(again, picture_path(series[0])).status == 200


def test_stopped_while_it_answers(pacs, series):
    pacs.add(series)
    page = serve(pacs)
    connections = [
        http.client.HTTPConnection("127.0.0.1", page.port, timeout=30) for _ in range(12)
    ]
    for connection, image in zip(connections, series, strict=True):
        connection.request("GET", f"/{picture_path(image)}")
    page.stop()
    for connection in connections:
        connection.close()
    assert not any("Web page of PRACTICE" in thread.name for thread in threading.enumerate())


def test_it_ends_with_its_pacs(series):
    with PracticePacs() as pacs:
        page = serve(pacs)
        port = page.port
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    with pytest.raises(MagicianError, match="The practice PACS PRACTICE has been stopped"):
        page.start()


def test_a_cell_that_is_run_twice_shows_the_same_page(pacs):
    page = WebPage.shared(pacs)
    assert WebPage.shared(pacs) is page
    port = page.port
    pacs.stop()
    pacs.start()
    assert WebPage.shared(pacs) is page
    assert ask(page).status == 200
    assert isinstance(port, int)


def displayed(page, monkeypatch):
    """What a notebook gets to show."""
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda data, raw: shown.append((data, raw)))
    page._ipython_display_()
    ((data, raw),) = shown
    assert raw
    return data


def test_a_notebook_shows_a_frame_and_a_text_without_a_port(page, monkeypatch):
    data = displayed(page, monkeypatch)
    assert data["text/plain"] == "The web page of the practice PACS SECOND"
    assert data["text/html"].count(f'"http://127.0.0.1:{page.port}/"') == 2
    assert 'title="The web page of the practice PACS SECOND"' in data["text/html"]


def test_on_a_hub_the_frame_goes_through_its_proxy(page, monkeypatch):
    monkeypatch.setenv("JUPYTERHUB_SERVICE_PREFIX", "/user/ada/")
    html = displayed(page, monkeypatch)["text/html"]
    assert f'<iframe src="/user/ada/proxy/{page.port}/"' in html
    assert "jupyter-server-proxy" in html


def test_on_colab_its_own_proxy_makes_the_frame(pacs, monkeypatch):
    calls = []
    output = types.SimpleNamespace(
        serve_kernel_port_as_iframe=lambda port, height: calls.append((port, height))
    )
    colab = types.ModuleType("google.colab")
    colab.output = output
    monkeypatch.setitem(sys.modules, "google", types.ModuleType("google"))
    monkeypatch.setitem(sys.modules, "google.colab", colab)
    with serve(pacs) as page:
        page._ipython_display_()
        assert calls == [(page.port, HEIGHT)]
        answer = ask(page, host="abc-8080-colab.googleusercontent.com")
    assert answer.status == 200
    assert "https://*.googleusercontent.com" in answer.headers["Content-Security-Policy"]


def test_a_page_that_is_stopped_says_so_in_a_notebook(pacs, monkeypatch):
    with serve(pacs) as page:
        pass
    assert displayed(page, monkeypatch)["text/html"] == (
        "<p>This web page is stopped, like its PACS. Start the PACS, then run this cell again.</p>"
    )
