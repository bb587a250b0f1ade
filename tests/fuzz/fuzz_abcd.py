"""Fuzzes ``recognise`` and ``transform`` with random bytes and mutated ABCD (needs atheris).

``python -m tests.fuzz.fuzz_abcd [libFuzzer's options]``, for instance ``-max_total_time=600``.
Whatever comes in, the answer is a JSON object or ``invalid_input``.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

from pipeline.bioschemas import Kind, recognise, transform, transform_archive
from pipeline.errors import Code, JobFailed
from tests.bioschemas.generate import document

SEEDS = [
    document(seed, 2, prefix=prefix, beyond=True).encode()
    for seed, prefix in enumerate(("", "abcd:", "", "a:"), 1)
]


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


def main() -> None:
    """Fuzzes until libFuzzer's options end it."""
    atheris: Any = import_module("atheris")
    atheris.instrument_all()

    def custom_mutator(data: bytes, limit: int, seed: int) -> bytes:
        return mutate(atheris.Mutate, data, limit, seed)

    atheris.Setup(sys.argv, check, custom_mutator=custom_mutator)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
