"""What is read in a hook's token."""

from __future__ import annotations

import base64

import pytest

from pipeline.aruna.hook import LAST_SECOND, token_expiry


def token(claims: str) -> str:
    """A JWT with these claims."""
    return f"eyJ.{base64.urlsafe_b64encode(claims.encode()).decode().rstrip('=')}.c2ln"


@pytest.mark.parametrize(
    ("exp", "expires"),
    [
        ("1798102051", 1798102051.0),
        ("253402300800", LAST_SECOND),
        ("1e300", LAST_SECOND),
        ("-1e300", 0.0),
        ("1e999", None),
        ("NaN", None),
        ("1" * 400, None),
        ("[" * 100_000 + "]" * 100_000, None),
    ],
)
def test_a_tokens_end_is_always_a_date_or_unknown(exp: str, expires: float | None) -> None:
    assert token_expiry(token(f'{{"exp": {exp}}}')) == expires
