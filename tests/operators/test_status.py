"""The status page as HTML: what it says, that it escapes, and that everybody can read it."""

from __future__ import annotations

import base64
import re
from contextlib import closing
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from pipeline.errors import Code
from pipeline.journal import Journal
from pipeline.operators.status import HEADERS, authorised, status_page

from .deliveries import DAY, LEAK, NOON, Clock, busy_day, claimed, delivery, failed, waiting

TEMPLATE = Path(__file__).parents[2] / "pipeline" / "operators" / "status.html"


class Page(HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.text += " "

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def words(html: str) -> str:
    """The text of a page's body, spaces made one."""
    return " ".join(Page(html.partition("</style>")[2]).text.split())


def test_an_idle_service_has_no_problems(journal: Journal) -> None:
    said = words(status_page(journal, now=NOON))
    assert "No problems" in said
    assert "No job is running." in said


def test_a_busy_day_shows_what_runs_waits_and_failed_and_what_to_do(
    journal: Journal, clock: Clock
) -> None:
    ids = busy_day(journal, clock)
    said = words(status_page(journal, now=NOON))
    assert "Needs attention 3 jobs failed in the last 24 hours" in said
    assert f"HoffmannPlantsV3.xml {ids['running']} upload 66 %: 61.3 MB of 92.4 MB" in said
    assert f"Lichenes.xml {ids['waiting']} in 18 s the data proxy answered 503 to a part" in said
    assert (
        f"sub/dir/Bryophyta.xml {ids['gfbio']} gfbio_unavailable GFBio can't be reached, or broke "
        "off its answer Check GFBio with: python -m pipeline check. Then retry the "
        "job. 25 min ago 6 d" in said
    )
    assert "it must be registered anew Register the hook again (register_webhook.sh)" in said
    assert "Succeeded in 24 hours 5 median 5.5 s" in said
    assert "Bytes in 24 hours 17.6 MB read, 13.0 MB written" in said


def test_yesterdays_failures_are_listed_but_no_reason_to_worry(
    journal: Journal, clock: Clock
) -> None:
    clock.now = NOON - 2 * DAY
    failed(journal, delivery(), Code.TIMEOUT, "the work took longer than 300 seconds")
    said = words(status_page(journal, now=NOON))
    assert "No problems" in said
    assert "timeout" in said


def test_a_queue_that_does_not_move_needs_attention(journal: Journal, clock: Clock) -> None:
    clock.now = NOON - 900
    waiting(journal, delivery(), Code.GFBIO_UNAVAILABLE, "GFBio answered 503", seconds=960)
    clock.now = NOON
    assert "The oldest queued job has waited for 15 min" in words(status_page(journal, now=NOON))


def test_a_journal_that_is_down_is_said_and_not_a_crash() -> None:
    down = Journal("postgresql://nobody@127.0.0.1:1/nowhere")
    down.open()
    with closing(down):
        said = words(status_page(down, now=NOON))
    assert "The journal can't be read" in said
    assert "python -m pipeline check" in said


def test_what_strangers_wrote_is_escaped(journal: Journal) -> None:
    failed(
        journal,
        delivery('<script>alert("name")</script>.xml'),
        Code.TRANSFORMATION_FAILED,
        "GFBio refused: <img src=x onerror=alert(1)>",
    )
    claimed(journal, delivery('" onload="alert(1)'))
    html = status_page(journal, now=NOON)
    page = Page(html)
    assert not page.all("script")
    assert not page.all("img")
    assert not [name for _, attributes in page.elements for name in attributes if name[:2] == "on"]
    assert '<script>alert("name")</script>.xml' in page.text


def test_no_secret_stands_on_the_page(journal: Journal, clock: Clock) -> None:
    busy_day(journal, clock)
    assert LEAK not in status_page(journal, now=NOON).lower()


def test_nothing_is_loaded_from_anywhere(journal: Journal, clock: Clock) -> None:
    busy_day(journal, clock)
    html = status_page(journal, now=NOON)
    page = Page(html)
    assert not [tag for tag, _ in page.elements if tag in ("script", "link", "img", "iframe")]
    assert "url(" not in html
    assert "://" not in html
    assert "default-src 'none'" in HEADERS["Content-Security-Policy"]


def test_it_refreshes_itself_until_it_is_paused(journal: Journal) -> None:
    refresh = [("http-equiv", "refresh"), ("content", "10")]
    moving, still = status_page(journal), status_page(journal, refreshing=False)
    assert dict(refresh) in Page(moving).all("meta")
    assert dict(refresh) not in Page(still).all("meta")
    assert {"href": "?still"} in Page(moving).all("a")
    assert {"href": "?"} in Page(still).all("a")


def test_a_screen_reader_finds_its_way(journal: Journal, clock: Clock) -> None:
    busy_day(journal, clock)
    page = Page(status_page(journal, now=NOON))
    assert page.all("html")[0]["lang"] == "en"
    assert [tag for tag, _ in page.elements if tag == "h1"] == ["h1"]
    assert [tag for tag in ("header", "main", "footer") if len(page.all(tag)) != 1] == []
    ids = {attributes.get("id") for _, attributes in page.elements}
    assert len(page.all("table")) == 4
    assert {table["aria-labelledby"] for table in page.all("table")} <= ids
    assert all(header["scope"] == "col" for header in page.all("th"))
    assert all(bar["aria-label"] for bar in page.all("progress"))
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert all(after - before <= 1 for before, after in pairwise(levels))


def luminance(colour: str) -> float:
    """WCAG 2.2: the relative luminance of ``#rrggbb``."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """WCAG 2.2: the contrast ratio of two colours."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_as_wcag_aa_wants(scheme: str) -> None:
    light, dark = re.findall(r":root \{(.*?)\}", TEMPLATE.read_text(), re.DOTALL)
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", light if scheme == "light" else dark))
    pairs = [(ink, paper) for ink in ("ink", "quiet", "accent") for paper in ("ground", "sheet")]
    pairs += [(level, f"{level}-ground") for level in ("ok", "look", "bad")]
    pairs += [("ink", f"{level}-ground") for level in ("ok", "look", "bad")]
    pairs += [("bad", "sheet")]
    assert [p for p in pairs if contrast(colours[p[0]], colours[p[1]]) < 4.5] == []
    assert contrast(colours["accent"], colours["track"]) >= 3


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize(
    ("header", "welcome"),
    [
        (basic("anybody", "status-token"), True),
        (basic("", "status-token"), True),
        (basic("anybody", "Status-token"), False),
        (basic("status-token", ""), False),
        (basic("a", "b:status-token"), False),
        ("Bearer status-token", False),
        ("Basic status-token", False),
        ("Basic ü", False),
        ("", False),
        (None, False),
    ],
)
def test_only_the_password_opens_the_page(header: str | None, welcome: bool) -> None:
    assert authorised(header, "status-token") is welcome
