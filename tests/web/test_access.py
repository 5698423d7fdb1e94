"""Words of access: who may look at a page that other computers can reach.

Nothing listens beyond loopback here: the site is asked directly, as if it did.
"""

from types import SimpleNamespace

import pytest
from web_requests import HOSTILE, picture_path, series_path
from werkzeug.test import Client

from magician.practice_pacs.archive import Archive
from magician.web.access import LENGTH, LETTERS, Access
from magician.web.site import Site

PAGES = ["/", "{series}", "{series}thumbnail.jpg", "{picture}"]
CLASS_PAGES = ["/class/", "/class/rows"]


def class_state():
    """What a class has done, with the name of a hostile learner in every place."""
    cell = SimpleNamespace(text=HOSTILE, state="done", why=HOSTILE)
    return SimpleNamespace(columns=["learner"], rows=[[cell]], remarks=[HOSTILE])


class Asked:
    """A site that listens on an address, and a browser that may keep cookies."""

    def __init__(self, archive, series, host="0.0.0.0", class_view=class_state):
        self.access = Access(host)
        self.site = Site(archive, "CLASS", host, self.access, class_view)
        self.base = f"http://{'192.0.2.7' if host == '0.0.0.0' else host}:8080"
        self.series, self.picture = f"/{series_path(series[0])}", f"/{picture_path(series[0])}"
        self.browser = self.fresh()

    def fresh(self):
        return Client(self.site)

    def get(self, path, browser=None, **query):
        path = path.format(series=self.series, picture=self.picture)
        browser = browser or self.browser
        return browser.get(path, base_url=self.base, query_string=query or None)


@pytest.fixture
def archive(small_series):
    archive = Archive(None, host="127.0.0.1")
    archive.add(small_series)
    yield archive
    archive.close()


@pytest.fixture
def asked(archive, small_series):
    return Asked(archive, small_series)


@pytest.mark.parametrize("path", PAGES + CLASS_PAGES)
@pytest.mark.parametrize("word", [None, "", "wrong", "é\udcff", "x" * 5000])
def test_without_the_word_no_page_is_shown(asked, path, word):
    query = {} if word is None else {"word": word.encode("utf-8", "replace")}
    answer = asked.get(path, **query)
    assert answer.status_code == 403
    assert "Phantom" not in answer.text
    assert ("needs its word" if word is None else "is wrong") in answer.text
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("path", PAGES)
def test_the_word_in_the_address_becomes_a_cookie(asked, path):
    answer = asked.get(path, word=asked.access.learners_word)
    assert answer.status_code == 303
    assert "word" not in answer.headers["Location"]
    assert answer.headers["Location"].startswith("./")
    attributes = answer.headers["Set-Cookie"].split("; ")
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(attributes)
    assert attributes[0].startswith("magician-8080=")
    assert asked.get(path).status_code == 200


def test_what_else_stood_in_the_address_stays(asked):
    word = asked.access.learners_word
    answer = asked.get("{series}", image=3, word=word, window="lung")
    assert answer.headers["Location"] == "./?image=3&window=lung"


def test_a_wrong_word_counts_more_than_a_right_cookie(asked):
    asked.get("/", word=asked.access.learners_word)
    assert asked.get("/", word="wrong").status_code == 403


def test_the_word_of_learners_does_not_open_the_class_view(asked):
    for path in CLASS_PAGES:
        answer = asked.get(path, word=asked.access.learners_word)
        assert answer.status_code == 403
        assert "for the teacher" in answer.text
    asked.get("/", word=asked.access.learners_word)
    assert [asked.get(path).status_code for path in CLASS_PAGES] == [403, 403]


def test_the_word_of_the_teacher_opens_every_page(asked):
    asked.get("/class/", word=asked.access.teachers_word)
    assert [asked.get(path).status_code for path in PAGES + CLASS_PAGES] == [200] * 6


def test_a_word_of_another_start_opens_nothing(asked, archive, small_series):
    other = Asked(archive, small_series)
    for word in (other.access.learners_word, other.access.teachers_word):
        assert asked.get("/", word=word).status_code == 403


def test_only_styles_and_signs_of_life_need_no_word(asked):
    for path in ("/page.css", "/page.js", "/watch.js", "/alive"):
        assert asked.get(path).status_code in (200, 204)


def test_on_loopback_no_word_is_needed(archive, small_series):
    asked = Asked(archive, small_series, host="127.0.0.1")
    assert asked.access.query() == asked.access.query(teacher=True) == ""
    assert [asked.get(path).status_code for path in PAGES + CLASS_PAGES] == [200] * 6


def test_words_are_long_and_differ():
    words = [word for _ in range(50) for word in vars(Access("192.0.2.7")).values()]
    assert len(set(words)) == 100
    assert all(len(word) == LENGTH and set(word) <= set(LETTERS) for word in words)
    assert len(set(LETTERS)) ** LENGTH == 2**60


def test_a_hostile_alias_is_text_in_the_class_view(archive, small_series):
    asked = Asked(archive, small_series, host="127.0.0.1")
    for path in CLASS_PAGES:
        text = asked.get(path).text
        assert text.count("&lt;script&gt;alert(1)") == 3
        assert "<script>" not in text
        assert "<img" not in text


def test_a_pacs_without_a_class_has_no_class_view(archive, small_series):
    asked = Asked(archive, small_series, host="127.0.0.1", class_view=None)
    assert [asked.get(path).status_code for path in CLASS_PAGES] == [404, 404]
