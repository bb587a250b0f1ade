"""The demo shows what README says it shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys

from tests.running import ROOT


def headings(text: str) -> list[str]:
    """The lines that say what is shown, without what differs from run to run."""
    found = re.findall(r"^=> (.*)$", text, re.MULTILINE)
    return [re.sub(r"http://127\.0\.0\.1:\d+", "http://…", line) for line in found]


def test_the_demo_shows_what_readme_says() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    promised = readme.partition("$ make demo\n")[2].partition("```")[0]

    shown = subprocess.run(
        [sys.executable, "-m", "sandbox.demo"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert shown.returncode == 0, shown.stderr
    assert headings(shown.stdout) == headings(promised)
    assert shown.stdout.count("PROCESSING_STATUS = success") == 2
    assert "Dataset of 50 records" in shown.stdout
    assert "lost: 1, queued: 1" in shown.stdout
