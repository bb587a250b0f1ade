"""Inputs for the fuzzer, made of ABCD documents, and the check of what becomes of one."""

from __future__ import annotations

import io
import json
import random
import zipfile
from collections.abc import Callable

from pipeline.errors import Code, JobFailed
from pipeline.transform.bioschemas import transform, transform_archive
from pipeline.transform.recognise import Kind, recognise
from tests.transform.bioschemas.generate import document

SEEDS = [
    document(seed, 2, prefix=prefix, beyond=True).encode()
    for seed, prefix in enumerate(("", "abcd:", "", "a:"), 1)
]


def archive(*documents: bytes) -> bytes:
    """A ZIP file of ``documents``, stored or compressed in turn."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as made:
        for number, content in enumerate(documents):
            method = (zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED, zipfile.ZIP_BZIP2)[number % 3]
            made.writestr(f"{number}.xml", content, method)
    return memory.getvalue()


SEEDS += [archive(*SEEDS[:3]), archive(SEEDS[0])]


def check(data: bytes) -> None:
    """Raises if ``data`` is answered with anything but a result or ``invalid_input``."""
    try:
        kind, chunks = recognise(iter([data[:64], data[64:]]))
        if kind is Kind.ZIP:
            result = b"".join(transform_archive(chunks))
        else:
            result = b"".join(transform(chunks))
    except JobFailed as exc:
        if exc.code is not Code.INVALID_INPUT or exc.again:
            raise
        return
    if kind is Kind.XML:
        assert json.loads(result)["@type"] == "Dataset"
        assert b"".join(transform([data])) == result


def mutate(mutator: Callable[[bytes, int], bytes], data: bytes, limit: int, seed: int) -> bytes:
    """Another input: ``data``, or now and then a whole ABCD document, changed a little."""
    chance = random.Random(seed)
    if chance.random() < 0.05:
        data = chance.choice(SEEDS)
    if chance.random() < 0.3:
        return spliced(data, chance)[:limit]
    return mutator(data, limit)


def spliced(data: bytes, chance: random.Random) -> bytes:
    """``data`` with a piece of an ABCD document in place of one of its own."""
    other = chance.choice(SEEDS)
    start, length = chance.randrange(len(other)), chance.randrange(1, 200)
    at = chance.randrange(len(data) + 1)
    return data[:at] + other[start : start + length] + data[at + chance.randrange(100) :]
