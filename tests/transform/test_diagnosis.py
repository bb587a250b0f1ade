"""What is said of a document that GFBio makes nothing of; the documents are of our own making."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipeline.errors import Code, JobFailed
from pipeline.operators.selftest.source import document
from pipeline.transform.diagnosis import diagnose
from tests.transform.bioschemas.test_archive import packed

#: Well-formed ABCD 2.06 that lacks nothing, a unit to a line.
GOOD = document("diagnosis.xml").decode()
ABCD = "http://www.tdwg.org/schemas/abcd/2.06"
REQUIRED = "add it"


def said(source: str | bytes) -> str:
    """The one sentence about a bad source."""
    data = source.encode() if isinstance(source, str) else source
    with pytest.raises(JobFailed) as caught:
        diagnose(iter([data[:100], data[100:]]))
    assert caught.value.code is Code.INVALID_INPUT
    return caught.value.message


def place_of(text: str, document: str = GOOD) -> str:
    """Line and column at which a text begins."""
    before = document[: document.index(text)]
    return f"line {before.count(chr(10)) + 1}, column {len(before) - before.rfind(chr(10))}"


def test_nothing_is_said_of_a_good_document_that_lacks_nothing() -> None:
    assert diagnose(iter([GOOD.encode()])) == []


def test_a_good_document_lacks_what_bioschemas_requires() -> None:
    without = GOOD.replace("<Title>", "<Title/><Text>").replace("</Title>", "</Text>", 1)
    start, end = GOOD.index("<IPRStatements>"), GOOD.index("</IPRStatements>")
    assert diagnose(iter([without.encode()])) == [
        "name (Metadata/Description/Representation/Title)"
    ]
    assert diagnose(iter([(GOOD[:start] + GOOD[end + 16 :]).encode()])) == [
        "license (Metadata/IPRStatements/Licenses/License)"
    ]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (GOOD[: GOOD.index("</UnitID>")], "cut off: the document ends in <UnitID> (line "),
        (GOOD + GOOD, "not well-formed: junk after document element (line "),
        (GOOD.replace("Bellis", "&szlig;"), "not well-formed: undefined entity &szlig; (line "),
    ],
)
def test_what_is_not_well_formed_is_named(bad: str, message: str) -> None:
    assert said(bad).startswith(message)


def test_a_mismatched_tag_says_where_it_is_and_where_its_element_begins() -> None:
    bad = GOOD.replace("1</UnitID>", "1</UnitId>")
    place = place_of("UnitId>", bad)
    assert said(bad) == f"not well-formed: mismatched tag, </UnitID> expected ({place})"
    bad = GOOD.replace("</Metadata>", "")
    place = place_of("DataSet>\n</DataSets>", bad)
    line = place_of("<Metadata>", bad).partition(",")[0]
    assert said(bad) == (
        f"not well-formed: mismatched tag, </Metadata> expected ({place}): "
        f"<Metadata> begins in {line}"
    )
    prefixed = f'<a:DataSets xmlns:a="{ABCD}"><a:DataSet></a:DataSets>'
    assert "mismatched tag, </a:DataSet> expected (line 1, column " in said(prefixed)


def test_broken_xml_counts_more_than_what_the_schema_says_of_it() -> None:
    bad = GOOD.replace("<SourceID>selftest</SourceID>", "").replace("</DataSets>", "")
    assert said(bad).startswith("cut off: the document ends in <DataSets> (line ")


_UNIT = GOOD[GOOD.index("<Unit>") : GOOD.index("</Unit>") + 7]
_CONTACTS = GOOD[GOOD.index("<TechnicalContacts>") : GOOD.index("<ContentContacts>")]


@pytest.mark.parametrize(
    ("bad", "what", "at", "to_do"),
    [
        (GOOD.replace("<UnitID>1</UnitID>", ""), "<Unit> has no <UnitID>", "<Unit>", REQUIRED),
        (GOOD.replace(_UNIT, ""), "<Units> has no <Unit>", "<Units>", REQUIRED),
        (
            GOOD.replace(_CONTACTS, ""),
            "<DataSet> has no <TechnicalContacts>",
            "<DataSet>",
            REQUIRED,
        ),
        (f'<DataSets xmlns="{ABCD}"/>', "<DataSets> has no <DataSet>", "<DataSets", REQUIRED),
        (
            GOOD.replace("<Units>", "</DataSet><Units>").replace("</Units>", "</Units><DataSet>"),
            "<DataSet> has no <Units>",
            "<DataSet>",
            REQUIRED,
        ),
        (
            GOOD.replace("<Scope>", f"<Scope>{_UNIT}"),
            "<Unit> stands in <Scope>",
            "<Unit>",
            "it belongs in <Units>",
        ),
        (
            GOOD.replace(_CONTACTS, "").replace(
                "</ContentContacts>", f"</ContentContacts>{_CONTACTS}"
            ),
            "<TechnicalContacts> stands behind <ContentContacts>",
            "<TechnicalContacts>",
            "it belongs before it",
        ),
    ],
)
def test_the_first_thing_that_is_not_abcd_is_named_with_its_place(
    bad: str, what: str, at: str, to_do: str
) -> None:
    assert said(bad) == f"not ABCD 2.06: {what} ({place_of(at, bad)}): {to_do}"


def test_another_version_is_named() -> None:
    newer = said(GOOD.replace("abcd/2.06", "abcd/2.1"))
    assert newer.startswith("not ABCD 2.06: the document is ABCD 2.1 (line 2, column 1): export it")
    older = said(GOOD.replace("abcd/2.06", "abcd/1.2"))
    assert older.startswith("not ABCD 2.06 or 2.1: the document is ABCD 1.2 (line 2, column 1)")


def test_elements_of_an_extension_are_no_mistakes() -> None:
    own = '<UnitExtension><x:Unit xmlns:x="urn:extension"><x:Units/></x:Unit></UnitExtension>'
    extended = GOOD.replace("</RecordBasis>", f"</RecordBasis>{own}")
    assert diagnose(iter([extended.encode()])) == []


def test_of_an_archive_the_member_is_named() -> None:
    bad = GOOD.replace("<UnitID>1</UnitID>", "")
    assert said(packed(("a.xml", GOOD), ("sub/b.xml", bad))).startswith(
        "in sub/b.xml: not ABCD 2.06: <Unit> has no <UnitID> (line "
    )
    assert said(packed(("a.xml", GOOD))[:700]).startswith("in a.xml: the archive is damaged")
    lacking = GOOD.replace("<Title>", "<Title/><Text>").replace("</Title>", "</Text>", 1)
    assert diagnose(iter([packed(("a.xml", GOOD), ("b.xml", lacking))])) == [
        "b.xml: name (Metadata/Description/Representation/Title)"
    ]


def test_errors_of_the_download_pass_through() -> None:
    def broken() -> Iterator[bytes]:
        yield GOOD[:500].encode()
        raise JobFailed(Code.DOWNLOAD_FAILED, "it broke off", again=True)

    with pytest.raises(JobFailed, match="it broke off"):
        diagnose(broken())
