"""Fuzzes ``recognise`` and ``transform`` with random bytes and mutated ABCD (needs atheris).

``python -m tests.fuzz.fuzz_abcd [libFuzzer's options]``, for instance ``-max_total_time=600``.
Whatever comes in, the answer is a result or ``invalid_input``.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any


def main() -> None:
    """Fuzzes until libFuzzer's options end it."""
    atheris: Any = import_module("atheris")
    with atheris.instrument_imports(include=["pipeline"]):
        from tests.fuzz import inputs

    def mutate(data: bytes, limit: int, seed: int) -> bytes:
        return inputs.mutate(atheris.Mutate, data, limit, seed)

    atheris.Setup(sys.argv, inputs.check, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
