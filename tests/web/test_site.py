"""The site: which requests it answers, which it refuses, and with which headers."""

import socket

import pytest
from helpers import ct_series
from web_requests import ask, picture_path, series_path

from magician.web import pages, site


@pytest.mark.parametrize(
    "path",
    [
        "../../etc/passwd", "studies/../../../etc/passwd", "studies/..%2f..%2fetc%2fpasswd/",
        "page.css/../web.py", "web.py", "_web_page.css", "../page.css", "site.py", "page.css%00",
        "studies", "studies/1.2.3", "studies/1.2.3/", "studies/x/", "studies/1..2/",
        "studies/" + "1" * 65 + "/", "studies/1.2%27%20OR%201=1/", "//evil.example/", "studies/*/",
        "studies//", "%ff%fe", "studies/1.2/series/1.2/instances/..%2f1.2.png",
    ],
)  # fmt: skip
def test_an_address_that_leads_nowhere(page, path):
    answer = ask(page, path)
    assert answer.status == 404
    assert "404 Not Found" in answer.text
    assert "Location" not in answer.headers


def test_what_is_no_uid_is_not_even_looked_for(pacs, own_page, monkeypatch):
    looked_for = []
    monkeypatch.setattr(pacs.archive, "held", lambda *level, **keys: looked_for.append(keys))
    for uid in (".1", "-1", "1%201", "1*", "1" * 129):
        assert ask(own_page, f"studies/{uid}/").status == 404
    assert looked_for == []


@pytest.mark.filterwarnings("ignore:The value length", "ignore:Invalid value for VR UI")
def test_a_series_whose_uids_are_none_has_its_page(pacs, own_page):
    (image,) = ct_series(slices=1, rows=8, columns=8, seed=5)
    image.StudyInstanceUID, image.SeriesInstanceUID = "1.2." + "3" * 68, "1.02..x_y"
    pacs.add([image])
    study, series = series_path(image).split("series/")
    assert f'href="{study}"' in ask(own_page).text
    assert f'href="series/{series}"' in ask(own_page, study).text
    assert ask(own_page, series_path(image)).status == 200
    assert ask(own_page, picture_path(image)).status == 200


def test_a_series_of_one_study_is_not_found_in_another(page, series, results):
    wrong = f"studies/{results.seg.StudyInstanceUID}/series/{series[0].SeriesInstanceUID}/"
    for path in (
        wrong,
        f"{wrong}thumbnail.jpg",
        f"{series_path(results.seg)}instances/{series[0].SOPInstanceUID}.png",
    ):
        assert ask(page, path).status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_nothing_can_be_written(page, series, method):
    for path in ("", series_path(series[0]), picture_path(series[0])):
        answer = ask(page, path, method=method, body=b"x")
        assert answer.status == 405
        assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD"}


def test_head_has_the_headers_and_no_body(page, series):
    get, head = (ask(page, picture_path(series[0]), method=method) for method in ("GET", "HEAD"))
    assert head.status == 200
    assert head.body == b""
    assert head.headers["Content-Length"] == get.headers["Content-Length"]


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example:80",
        "",
        "[evil]",
        "192.0.2.1",
        "127.0.0.1:80@evil.example",
        "evil.example:127",
    ],
)
def test_a_name_of_somebody_elses_that_points_here_is_refused(page, host):
    answer = ask(page, host=host)
    assert answer.status == 403
    assert "Phantom" not in answer.text


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8000", "LOCALHOST", "[::1]:80"])
def test_this_computer_by_its_own_names(page, host):
    assert ask(page, host=host).status == 200


def test_behind_the_proxy_of_a_hub_any_name_is_taken(page, monkeypatch):
    monkeypatch.setenv("JUPYTERHUB_SERVICE_PREFIX", "/user/ada/")
    assert ask(page, host="hub.example.org").status == 200


def test_beyond_loopback_addresses_and_the_name_of_the_computer_are_taken():
    own = socket.gethostname()
    for host in ("192.0.2.7:8000", "[2001:db8::1]", own, f"{own}.local:8000"):
        assert site.is_meant_for_us(host, "0.0.0.0")
    for host in ("evil.example", "", "192.0.2.7.evil.example"):
        assert not site.is_meant_for_us(host, "0.0.0.0")


def test_every_answer_has_the_strict_headers(page, series, results):
    paths = [
        "",
        series_path(series[0]),
        picture_path(series[0]),
        picture_path(results.sr),
        "page.css",
        "page.js",
        "nothing",
    ]
    answers = [ask(page, path) for path in paths] + [
        ask(page, method="POST"),
        ask(page, host="evil.example"),
    ]
    for answer in answers:
        policy = dict(
            part.strip().split(" ", 1)
            for part in answer.headers["Content-Security-Policy"].split(";")
        )
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == "'self'"
        assert "http://localhost:*" in policy["frame-ancestors"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert answer.headers["Cache-Control"] == "no-store"
        assert "Server" not in answer.headers


def test_a_mistake_of_ours_is_an_answer_that_tells_nothing(page, monkeypatch, caplog):
    def broken(*arguments):
        raise RuntimeError("secret")

    monkeypatch.setattr(pages, "list_studies", broken)
    answer = ask(page)
    assert answer.status == 500
    assert "secret" not in answer.text
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "could not answer /" in caplog.text
