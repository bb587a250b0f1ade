"""For a service started by a test: a defect where callers are checked, which quotes a secret."""

import hmac


def _compare_digest(given, expected):  # type: ignore[no-untyped-def]
    raise RuntimeError(f"compared {given} with {expected}")


hmac.compare_digest = _compare_digest
