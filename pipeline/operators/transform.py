"""The command ``transform``: a file or standard input to JSON-LD; the service runs it as well."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pipeline.errors import JobFailed
from pipeline.transform.bioschemas.archive import transform_archive, transform_members
from pipeline.transform.bioschemas.dataset import transform
from pipeline.transform.bioschemas.profile import lacks
from pipeline.transform.diagnosis import diagnose
from pipeline.transform.recognise import Kind, recognise

READ = 256 * 1024  # bytes
LARGE = 10_000_000  # bytes of a file from which on a progress bar is worth it


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``python -m pipeline transform``."""
    parser.add_argument("file", metavar="FILE", help="an ABCD document or archive; - for stdin")
    parser.add_argument(
        "-o", "--output", metavar="OUT", default="-", help="a file instead of stdout (-)"
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="list which members of the Bioschemas profile the source lacks, instead of JSON-LD; "
        "exit status 1 if one of them is required",
    )
    # For the service's child process.
    parser.add_argument("--diagnose", action="store_true", help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace) -> int:
    """Transforms; returns the exit status: 0, or 1 after one line on stderr."""
    try:
        with source(arguments.file) as chunks, target(arguments.output) as output:
            if arguments.diagnose:
                output.writelines(f"{lacking}\n".encode() for lacking in diagnose(chunks))
                return 0
            kind, document = recognise(chunks)
            if arguments.check:
                return check(kind, document, output)
            result = transform_archive(document) if kind is Kind.ZIP else transform(document)
            for piece in result:
                output.write(piece)
    except JobFailed as exc:
        return fail(exc.message)
    except BrokenPipeError:
        raise  # the same for all commands: dealt with where they are called
    except OSError as exc:
        return fail(f"{exc.filename}: {exc.strerror}" if exc.filename else str(exc))
    return 0


def check(kind: Kind, document: Iterator[bytes], output: BinaryIO) -> int:
    """Writes what each result lacks, a line each; returns 1 if something required is among it."""
    results = transform_members(document) if kind is Kind.ZIP else [("", transform(document))]
    status = 0
    for name, result in results:
        for lack in lacks(result):
            output.write((f"{name}: {lack}\n" if name else f"{lack}\n").encode())
            status = 1 if lack.required else status
    return status


def fail(message: str) -> int:
    """Says why on stderr, in one line."""
    sys.stderr.write(" ".join(message.split()) + "\n")
    return 1


@contextmanager
def source(name: str) -> Iterator[Iterator[bytes]]:
    """The bytes of the file ``name``, or of standard input if it is ``-``."""
    if name == "-":
        yield read(sys.stdin.buffer)
        return
    with Path(name).open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size < LARGE or not sys.stderr.isatty():
            yield read(file)
            return
        # Imported here: only a person at a terminal needs them.
        from rich.console import Console
        from rich.progress import wrap_file

        console = Console(stderr=True)
        with wrap_file(file, size, description=Path(name).name, console=console) as watched:
            yield read(watched)


def read(file: BinaryIO) -> Iterator[bytes]:
    """``file`` in pieces of ``READ`` bytes."""
    while piece := file.read(READ):
        yield piece


@contextmanager
def target(name: str) -> Iterator[BinaryIO]:
    """Standard output if it is ``-``; else a file that takes its name only once it is complete.

    A pipe or a device is written to, not replaced.
    """
    if name == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(name)
    if path.exists() and not path.is_file():
        with path.open("wb") as special:
            yield special
        return
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with unfinished.open("xb") as file:
            yield file
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
