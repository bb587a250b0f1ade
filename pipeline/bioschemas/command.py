"""The command ``transform``: a file or standard input to JSON-LD; the service runs it as well."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pipeline.bioschemas.archive import transform_archive
from pipeline.bioschemas.dataset import transform
from pipeline.bioschemas.recognise import Kind, recognise
from pipeline.errors import JobFailed

READ = 256 * 1024  # bytes
LARGE = 10_000_000  # bytes of a file from which on a progress bar is worth it


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``python -m pipeline transform``."""
    parser.add_argument("file", metavar="FILE", help="an ABCD document or archive; - for stdin")
    parser.add_argument("-o", "--output", metavar="OUT", type=Path, help="instead of stdout")


def run(arguments: argparse.Namespace) -> int:
    """Transforms; returns the exit status: 0, or 1 after one line on stderr."""
    try:
        with source(arguments.file) as chunks, target(arguments.output) as output:
            kind, document = recognise(chunks)
            result = transform_archive(document) if kind is Kind.ZIP else transform(document)
            for piece in result:
                output.write(piece)
    except JobFailed as exc:
        return fail(exc.message)
    except BrokenPipeError:
        # Nobody reads on: Python would complain once more when it flushes at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as exc:
        return fail(f"{exc.filename}: {exc.strerror}" if exc.filename else str(exc))
    return 0


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
    with Path(name).open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        if size < LARGE or not sys.stderr.isatty():
            yield read(file)
            return
        from rich.console import Console
        from rich.progress import wrap_file

        console = Console(stderr=True)
        with wrap_file(file, size, description=Path(name).name, console=console) as watched:
            yield read(watched)


def read(file: BinaryIO) -> Iterator[bytes]:
    """``file`` in pieces, as they come."""
    read1 = getattr(file, "read1", file.read)
    while piece := read1(READ):
        yield piece


@contextmanager
def target(path: Path | None) -> Iterator[BinaryIO]:
    """Standard output, or a file that takes the name ``path`` only once it is complete."""
    if path is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with unfinished.open("xb") as file:
            yield file
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
