import re
from html.parser import HTMLParser

import pytest

from medlangevin.imaging.cohort.person import Outcome
from medlangevin.imaging.cohort.qc_page import page

FIGURES = {"ncc": 0.8, "mirror_ncc": 0.1, "coverage": 1.0, "agreement_mm": None, "residual_mm": 0.31}


def ear(subject, side, verdict, ncc=0.8):
    doubt = {"code": "", "why": ""} if verdict == "ok" else {"code": "runner-up", "why": "fits <nearly> as well & more"}
    return {"subject": subject, "side": side, "verdict": verdict, **doubt, **FIGURES, "ncc": ncc}


@pytest.fixture
def text():
    note = {"study": "c0ffee", "code": "same-ear", "reason": "ear L is taken from series beef", "what_to_do": "nothing"}
    failure = {"study": "dead", "code": "too-coarse", "reason": "slices <2 mm>", "what_to_do": "export thin ones"}
    outcomes = [
        Outcome("aa", "x", ears=[ear("aa", "L", "ok"), ear("aa", "R", "review")], notes=[note]),
        Outcome(
            "bb", "x", ears=[ear("bb", "R", "ok", 0.7)], failed=[ear("bb", "L", "failed", 0.4)], failures=[failure]
        ),
    ]
    return page(outcomes, [{**failure, "study": "f00d", "code": "no-geometry"}])


class Rows(HTMLParser):
    """Texts of the cells of every row, all links and sources, names of attributes, and how many scripts there are."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.links, self.open = [], [], []
        self.names, self.scripts = set(), 0
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag == "tr":
            self.rows.append([])
        if tag == "td":
            self.rows[-1].append("")
            self.open.append(tag)
        self.names |= {name for name, _ in attributes}
        self.scripts += tag == "script"
        self.links += [value for name, value in attributes if name in ("href", "src")]

    def handle_endtag(self, tag):
        if tag == "td":
            self.open.pop()

    def handle_data(self, data):
        if self.open:
            self.rows[-1][-1] += data


def test_ears_failures_and_decisions_are_listed_worst_first(text):
    rows = [row for row in Rows(text).rows if row]
    assert [(row[0], row[1], row[2]) for row in rows[:4]] == [
        ("failed", "L", "sub-bb"),
        ("review", "R", "sub-aa"),
        ("ok", "R", "sub-bb"),
        ("ok", "L", "sub-aa"),
    ]
    assert rows[0][5] == "fits <nearly> as well & more"
    assert rows[0][6] == "0.40"
    assert rows[4:] == [
        ["dead sub-bb", "too-coarse", "slices <2 mm>", "export thin ones"],
        ["f00d", "no-geometry", "slices <2 mm>", "export thin ones"],
        ["c0ffee sub-aa", "same-ear", "ear L is taken from series beef", "nothing"],
    ]
    assert "4 ears: 2 ok, 1 to review, 1 failed" in text
    assert re.findall(r"data-show=\"([^\"]*)\"[^>]*>([^<]*)<", text)[1] == ("failed review", "failed and review (2)")


def test_the_page_needs_nothing_but_the_pictures_beside_it(text):
    assert set(Rows(text).links) == {
        "sub-aa_side-L_ct.png",
        "sub-aa_side-R_ct.png",
        "sub-bb_side-R_ct.png",
        "sub-bb_side-L_failed.png",
    }
    assert "http" not in text


def test_text_from_files_can_neither_open_an_element_nor_an_attribute():
    hostile = '"\'><script>x</script><img onerror="y'
    failed = {**ear(hostile, "L", "failed"), "code": hostile, "why": hostile}
    row = dict.fromkeys(("study", "code", "reason", "what_to_do"), hostile)
    rows = Rows(page([Outcome("aa", "x", failed=[failed], failures=[row])], [row]))
    assert set(rows.links) == {f"sub-{hostile}_side-L_failed.png"}
    (of_ear,) = [cells for cells in rows.rows if cells[:1] == ["failed"]]
    assert [of_ear[place] for place in (2, 4, 5)] == [f"sub-{hostile}", hostile, hostile]
    assert rows.rows[-1] == [hostile] * 4
    assert rows.names.isdisjoint({"onerror"})
    assert rows.scripts == 1  # the page's own


def test_an_empty_cohort_is_a_page_too():
    assert "0 ears" in page([], [])
