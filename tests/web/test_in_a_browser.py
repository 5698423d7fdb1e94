"""The web page in a real browser: keys, wheel, slider, and what a hostile name does there."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from urllib.parse import urljoin

import numpy as np
import pytest
from browser import chromium
from helpers import CORONAL, ct_series, interop_required, require_program
from web_requests import HOSTILE, plant, series_path

from magician.practice_pacs.pacs import PracticePacs
from magician.rendering.windowing import PRESETS, window
from magician.web.page import WebPage, serve


@pytest.fixture(scope="module")
def tab():
    require_program("chromium")
    if not interop_required():
        pytest.importorskip(
            "playwright", reason="playwright, which drives the browser, is not installed"
        )
    with chromium() as tab:
        yield tab


def look(tab, page, path=""):
    """Open an address, and return what the browser complains of and asks for meanwhile."""
    complaints, asked = [], []
    tab.on("console", lambda message: complaints.append(message.text))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(page.url + path)
    return complaints, asked


def wait_for(tab, shown):
    tab.wait_for_selector(f'#viewer[data-shown="{shown}"]', timeout=20_000)


def seen(tab):
    """The pixels of the picture on the page, grey."""
    width, height, data = tab.locator("#stage img").evaluate(
        """picture => {
            const {naturalWidth: width, naturalHeight: height} = picture;
            const canvas = Object.assign(document.createElement("canvas"), {width, height});
            const copy = canvas.getContext("2d");
            copy.drawImage(picture, 0, 0);
            return [width, height, [...copy.getImageData(0, 0, width, height).data]];
        }"""
    )
    return np.array(data, float).reshape(height, width, 4)[..., 0]


def test_keys_wheel_and_slider_move_through_the_images(tab, page, series, volume):
    complaints, asked = look(tab, page, series_path(series[0]))
    wait_for(tab, "6 ")
    for keys, shown in (
        ("ArrowUp", "7 "), ("ArrowRight ArrowRight", "9 "), ("ArrowDown ArrowLeft", "7 "),
        ("End", "12 "), ("ArrowUp", "12 "), ("Home", "1 "), ("PageUp", "11 "), ("PageDown", "1 "),
        ("1", "1 lung"), ("3", "1 bone"), ("2 ArrowUp", "2 soft-tissue"), ("0", "2 "),
        ("1", "2 lung"),
    ):  # fmt: skip
        for key in keys.split():
            tab.keyboard.press(key)
        wait_for(tab, shown)
    assert np.abs(seen(tab) - window(volume.hu[1], *PRESETS["lung"])).mean() < 3
    tab.locator("#stage").hover()
    tab.mouse.wheel(0, -100)
    wait_for(tab, "4 lung")
    assert np.abs(seen(tab) - window(volume.hu[3], *PRESETS["lung"])).mean() < 3
    tab.get_by_label("Image", exact=True).fill("10")
    wait_for(tab, "10 lung")
    assert tab.locator("#where").text_content() == "Image 10 of 12"
    assert tab.locator("#stage img").get_attribute("alt") == "Image 10 of 12, Small phantom"
    tab.get_by_label("bone").check()
    wait_for(tab, "10 bone")
    assert complaints == []
    assert {urljoin(url, "/") for url in asked} == {page.url}


def test_the_keyboard_alone_leads_from_the_studies_to_an_image(tab, page, series):
    look(tab, page)

    def press_tab_as_far_as(address):
        for _ in range(20):
            tab.keyboard.press("Tab")
            if (tab.evaluate("document.activeElement.href") or "").endswith(address):
                return tab.keyboard.press("Enter")
        raise AssertionError(f"{address} can't be reached")

    press_tab_as_far_as(f"/studies/{series[0].StudyInstanceUID}/")
    tab.wait_for_selector(".series")
    press_tab_as_far_as(f"/series/{series[0].SeriesInstanceUID}/")
    wait_for(tab, "6 ")
    tab.keyboard.press("Tab")
    tab.keyboard.press("End")
    wait_for(tab, "12 ")


def test_letters_are_those_of_the_image_that_is_seen(tab, pacs, own_page, small_series):
    small_series[3].ImageOrientationPatient = ct_series(orientation=CORONAL)[
        0
    ].ImageOrientationPatient
    pacs.add(small_series)
    look(tab, own_page, f"{series_path(small_series[0])}?image=3")
    for shown, upper in (("3 ", "A"), ("4 ", "H"), ("5 ", "A")):
        wait_for(tab, shown)
        assert tab.locator("#frame .upper").text_content() == upper
        tab.keyboard.press("ArrowUp")


def test_once_loaded_a_step_asks_for_nothing(tab, page, series):
    _, asked = look(tab, page, series_path(series[0]))
    tab.wait_for_selector("#viewer[data-complete]", timeout=20_000)
    assert sum("/instances/" in url for url in asked) >= 12
    asked.clear()
    for key in ("Home", "ArrowUp", "End"):
        tab.keyboard.press(key)
    wait_for(tab, "12 ")
    assert {url for url in asked if not url.endswith("/alive")} == set()


def test_the_address_follows_and_shows_the_same_again(tab, page, series):
    look(tab, page, series_path(series[0]))
    wait_for(tab, "6 ")
    tab.keyboard.press("ArrowUp")
    tab.keyboard.press("3")
    tab.wait_for_url("**/?image=7&window=bone")
    tab.get_by_role("link", name="Look again").click()
    wait_for(tab, "7 bone")


def test_a_damaged_image_in_a_series_is_a_tile(tab, pacs, own_page, small_series):
    del small_series[6].PixelData
    pacs.add(small_series)
    look(tab, own_page, f"{series_path(small_series[0])}?image=6")
    wait_for(tab, "6 ")
    tab.keyboard.press("ArrowUp")
    wait_for(tab, "7 ")
    assert tab.locator("#stage img").evaluate("picture => picture.naturalWidth") > 0
    tab.keyboard.press("ArrowUp")
    wait_for(tab, "8 ")


def test_a_hostile_name_does_nothing_in_a_browser(tab, pacs, own_page, small_series):
    for image in small_series:
        plant(image, "PatientName", HOSTILE)
        plant(image, "SeriesDescription", HOSTILE)
    pacs.add(small_series)
    alerts = []
    tab.once("dialog", lambda dialog: (alerts.append(dialog.message), dialog.dismiss()))
    complaints, _ = look(tab, own_page, series_path(small_series[0]))
    wait_for(tab, "6 ")
    assert tab.locator("h1").text_content() == HOSTILE
    assert tab.locator("#stage img").get_attribute("alt") == f"Image 6 of 12, {HOSTILE}"
    assert alerts == complaints == []


@contextmanager
def framed(page):
    """A page of another server on this computer, with ours in a frame; gives its port."""

    class Frame(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(f'<iframe src="{page.url}"></iframe>'.encode())

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Frame) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_a_notebook_of_this_computer_may_frame_it_and_others_may_not(tab, page):
    with framed(page) as port:
        for name, allowed in (("127.0.0.1", True), ("localhost", True), ("evil.localhost", False)):
            tab.goto(f"http://{name}:{port}/")
            tab.wait_for_load_state("networkidle")
            assert ("SECOND: 2 studies" in tab.frames[1].content()) == allowed


@pytest.mark.parametrize("width", [320, 390, 1100])
def test_no_page_is_wider_than_a_phone(tab, page, series, results, width):
    tab.set_viewport_size({"width": width, "height": 700})
    for path in (
        "",
        f"studies/{results.seg.StudyInstanceUID}/",
        series_path(results.overlay[0]),
        series_path(series[0]),
    ):
        look(tab, page, path)
        assert tab.evaluate("document.documentElement.scrollWidth") <= width


def test_a_page_says_that_its_pacs_was_stopped_and_that_it_is_there_again(tab, series):
    pacs = PracticePacs()
    with pacs, serve(pacs) as page:
        pacs.add(series)
        port = page.port
        look(tab, page)
        assert tab.locator("#stopped").is_hidden()
    tab.wait_for_selector("#stopped:not([hidden])", timeout=20_000)
    assert "This PACS was stopped" in tab.locator("#stopped").text_content()
    assert tab.locator("main").evaluate("part => part.inert")
    with pacs, serve(pacs, port=port):
        tab.wait_for_selector("#stopped", state="hidden", timeout=20_000)
        assert not tab.locator("main").evaluate("part => part.inert")


def test_the_table_of_a_class_follows_by_itself(tab, pacs):
    def state(text):
        cell = SimpleNamespace(text=text, state="done", why=HOSTILE)
        return SimpleNamespace(columns=["learner"], rows=[[cell]], remarks=[])

    shown = state("Ada")
    with WebPage(pacs, class_view=lambda: shown) as page:
        complaints, _ = look(tab, page, "class/")
        assert tab.locator("tbody th span").text_content() == "Ada"
        shown = state(HOSTILE)
        tab.locator("tbody th span", has_text="alert").wait_for(timeout=20_000)
        assert tab.locator("tbody th span").text_content() == HOSTILE
    assert complaints == []
