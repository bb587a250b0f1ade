"""Writes the generated parts of README anew: ``make docs``; ``tests/test_docs.py`` compares."""

from __future__ import annotations

import re

from pipeline.settings import settings_table
from tests.running import ROOT


def with_part(text: str, name: str, part: str) -> str:
    """``text`` with ``part`` between the marks of that name."""
    marked = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    return marked.sub(lambda mark: f"{mark[1]}\n{part}\n\n{mark[2]}", text)


def main() -> None:
    """Rewrite README in place."""
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    readme.write_text(with_part(text, "settings", settings_table()), encoding="utf-8")


if __name__ == "__main__":
    main()
