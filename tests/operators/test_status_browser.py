"""The status page in a real browser: chromium, headless, light and dark, wide and narrow.

With STATUS_SCREENSHOTS set to a directory the pictures are kept there, to be looked at.
"""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.journal import Journal
from pipeline.operators.status import status_page

from .deliveries import NOON, Clock, busy_day, delivery, running

CHROMIUM = shutil.which("chromium")
WIDE, NARROW = (1280, 1500), (500, 2600)
#: The colours of the page's ground, as in the template.
GROUND = {"light": (0xF6, 0xF7, 0xF4), "dark": (0x12, 0x16, 0x13)}

pytestmark = pytest.mark.skipif(
    CHROMIUM is None and "CI" not in os.environ, reason="needs chromium (Debian: apt chromium)"
)


@dataclass(frozen=True)
class Browser:
    """A way to chromium with a profile of its own; sizes in CSS pixels."""

    profile: Path

    def __call__(self, page: Path, *arguments: str, scheme: str, size: tuple[int, int]) -> str:
        assert CHROMIUM is not None, "chromium is not installed"
        preferred = {"dark": 0, "light": 1}[scheme]
        done = subprocess.run(
            [
                CHROMIUM,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--hide-scrollbars",
                f"--user-data-dir={self.profile}",
                f"--blink-settings=preferredColorScheme={preferred}",
                f"--window-size={size[0]},{size[1]}",
                *arguments,
                page.as_uri(),
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return done.stdout


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    profile = tmp_path_factory.mktemp("chromium")
    yield Browser(profile)
    shutil.rmtree(profile, ignore_errors=True)


@pytest.fixture
def page(tmp_path: Path, journal: Journal, clock: Clock) -> Path:
    busy_day(journal, clock)
    running(journal, delivery("a" * 200 + ".xml"), "transform", 400_000, 0)
    file = tmp_path / "status.html"
    file.write_text(status_page(journal, refreshing=False, now=NOON), encoding="utf-8")
    return file


def pixels(png: Path) -> tuple[int, int, Counter[tuple[int, ...]]]:
    """Width, height and colours of a PNG of 8 bits a channel, every row's first pixels."""
    data = png.read_bytes()
    width, height, depth, kind = struct.unpack(">IIBB", data[16:26])
    assert depth == 8
    channels = {2: 3, 6: 4}[kind]
    packed = b"".join(
        data[at + 8 : at + 8 + length] for name, at, length in _chunks(data) if name == b"IDAT"
    )
    raw = zlib.decompress(packed)
    stride = 1 + width * channels
    # The first pixel of a row without a filter, or filtered by what is left of it (nothing).
    firsts = (raw[row * stride : row * stride + 1 + channels] for row in range(height))
    colours = Counter(tuple(first[1:4]) for first in firsts if first[0] in (0, 1))
    return width, height, colours


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    at = 8
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        yield data[at + 4 : at + 8], at, length
        at += 12 + length


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_it_is_drawn_in_the_scheme_the_reader_prefers(
    scheme: str, size: tuple[int, int], page: Path, browser: Browser, tmp_path: Path
) -> None:
    kept = Path(os.environ.get("STATUS_SCREENSHOTS", tmp_path))
    shot = kept / f"status-{scheme}-{size[0]}.png"
    browser(page, f"--screenshot={shot}", scheme=scheme, size=size)
    width, height, colours = pixels(shot)
    assert (width, height) == size
    assert colours.most_common(1)[0][0] == GROUND[scheme]


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_nothing_is_wider_than_the_window(
    size: tuple[int, int], page: Path, browser: Browser
) -> None:
    measure = (
        "<script>document.title = document.documentElement.scrollWidth + ' of ' + innerWidth"
        "</script></body>"
    )
    page.write_text(page.read_text(encoding="utf-8").replace("</body>", measure), "utf-8")
    drawn = browser(page, "--dump-dom", scheme="light", size=size)
    found = re.search(r"<title>(\d+) of (\d+)</title>", drawn)
    assert found is not None
    needed, given = map(int, found.groups())
    assert given == size[0]
    assert needed <= given
