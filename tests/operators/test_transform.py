"""``python -m pipeline transform``, run as users run it."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.transform.bioschemas import transform
from tests.running import ROOT
from tests.transform.bioschemas.documents import abcd, elements, result
from tests.transform.bioschemas.generate import endless
from tests.transform.bioschemas.test_archive import packed

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
COMMAND = [sys.executable, "-m", "pipeline", "transform"]
DOCUMENT = abcd(elements("KindOfUnit", "Groß")).encode()
WHOLE = abcd(
    elements("KindOfUnit", "leaves"),
    before="<DatasetGUID>http://x</DatasetGUID>",
    metadata=elements(
        "Description/Representation",
        f"<Title>T</Title><Details>{'long ' * 20}</Details><URI>http://x</URI>",
    )
    + elements("IPRStatements/Licenses/License/Text", "CC0"),
).encode()


def run(*arguments: str | Path, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Runs the command."""
    return subprocess.run([*COMMAND, *arguments], input=given, capture_output=True, check=False)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A file with an ABCD document."""
    path = tmp_path / "source.xml"
    path.write_bytes(DOCUMENT)
    return path


def test_a_file_goes_to_standard_output(source: Path) -> None:
    done = run(source)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == b"".join(transform([DOCUMENT]))


def test_standard_input_goes_to_a_file(tmp_path: Path) -> None:
    done = run("-", "-o", tmp_path / "out.json", given=DOCUMENT)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert (tmp_path / "out.json").read_bytes() == b"".join(transform([DOCUMENT]))
    assert list(tmp_path.iterdir()) == [tmp_path / "out.json"]


def test_a_dash_is_standard_output(source: Path) -> None:
    done = subprocess.run(
        [*COMMAND, source, "-o", "-"], cwd=source.parent, capture_output=True, env=ENVIRONMENT
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == b"".join(transform([DOCUMENT]))
    assert list(source.parent.iterdir()) == [source]


def test_a_pipe_is_written_to_and_not_replaced(source: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen([*COMMAND, source, "-o", pipe]) as process:
        assert pipe.read_bytes() == b"".join(transform([DOCUMENT]))
    assert process.returncode == 0
    assert pipe.is_fifo()


def test_an_archive_becomes_an_archive() -> None:
    done = run("-", given=packed(("a.xml", DOCUMENT)))
    assert done.returncode == 0
    assert done.stdout.startswith(b"PK")


def test_an_error_is_one_line_with_its_place_and_leaves_no_file(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    out.write_text("earlier")
    done = run("-", "-o", out, given=DOCUMENT[:-9])
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.startswith(b"cut off: ")
    place = f"(line 1, column {DOCUMENT.decode().index('</DataSets>') + 1})"
    assert done.stderr.endswith(f" {place}: upload it again\n".encode())
    assert out.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [tmp_path / "out.json"]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    done = run(tmp_path / "none.xml")
    assert done.returncode == 1
    assert done.stderr == f"{tmp_path / 'none.xml'}: No such file or directory\n".encode()


def test_a_reader_that_goes_away_is_no_traceback(tmp_path: Path) -> None:
    path = tmp_path / "large.xml"
    with path.open("wb") as file:
        file.writelines(endless(2_000_000))
    with subprocess.Popen(
        [*COMMAND, path], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


def test_a_check_names_what_the_source_lacks(source: Path) -> None:
    done = run("--check", source)
    lines = done.stdout.decode().splitlines()
    assert done.returncode == 1
    assert "required: name (Metadata/Description/Representation/Title)" in lines
    assert "recommended: isBasedOn (ABCD has no element for it)" in lines
    assert not any("keywords" in line for line in lines)


def test_a_check_succeeds_if_only_recommended_members_are_missing() -> None:
    done = run("--check", "-", given=packed(("a.xml", WHOLE)))
    assert done.returncode == 0
    assert all(line.startswith(b"a.json: recommended: ") for line in done.stdout.splitlines())
    assert result(WHOLE)["name"] == "T"


def test_a_terminal_sees_the_progress_of_a_large_file(tmp_path: Path) -> None:
    path = tmp_path / "large.xml"
    with path.open("wb") as file:
        file.writelines(endless(10_500_000))
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        command = [*COMMAND, str(path), "-o", str(tmp_path / "out.json")]
        process = subprocess.Popen(command, stderr=theirs)
        os.close(theirs)
        shown = b""
        try:
            while piece := terminal.read(4096):
                shown += piece
        except OSError:
            # Linux: the last other end of a terminal was closed.
            pass
    assert process.wait() == 0
    assert b"large.xml" in shown
    assert b"10.5/10.5 MB" in shown
