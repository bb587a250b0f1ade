"""The page about guarantees names the tests that show them."""

from __future__ import annotations

import re

from tests.running import ROOT

PAGE = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")
_NAMED = re.compile(r"`(test_\w+)`")
_DEFINED = re.compile(r"^def (test_\w+)", re.MULTILINE)


def test_every_row_of_the_table_names_a_test_that_there_is() -> None:
    sources = (ROOT / "tests").rglob("test_*.py")
    defined = {name for file in sources for name in _DEFINED.findall(file.read_text("utf-8"))}
    rows = PAGE.partition("| --- |")[2].partition("\n\n")[0].splitlines()[1:]
    assert len(rows) > 20
    for row in rows:
        assert _NAMED.findall(row), row
        assert set(_NAMED.findall(row)) <= defined, row
