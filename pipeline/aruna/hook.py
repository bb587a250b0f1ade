"""The hook: what one delivery lends the service, and whether its secret is genuine."""

from __future__ import annotations

import base64
import hmac
import json
import math
from dataclasses import dataclass, field
from hashlib import sha256

from aruna.api.storage.models.v2 import models_pb2

from pipeline.aruna.objects import PROCESSED_LABEL, has_label

#: The end of year 9999, in seconds since the epoch: no date is later.
LAST_SECOND = 253402300799.0


@dataclass(frozen=True)
class Credentials:
    """What a delivery lends us.

    ``secret`` is the HMAC that HookCallback asks for, ``pubkey_serial`` names the key it was made
    with. ``download`` is a presigned URL (``None`` while the source has no content). ``token``,
    ``access_key`` and ``secret_key`` have the permission APPEND on the hook's project.
    """

    secret: str = field(repr=False)
    pubkey_serial: int
    download: str | None = field(repr=False)
    token: str = field(repr=False)
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)


@dataclass(frozen=True)
class Hook:
    """One delivery of a hook: the object that triggered it, as Aruna wrote it at the trigger."""

    hook_id: str
    object: models_pb2.Object
    credentials: Credentials

    @property
    def why_ignored(self) -> str | None:
        """Why there is nothing to do for this object, or ``None``."""
        if has_label(self.object, PROCESSED_LABEL):
            return "the object is a result of this service"
        if (
            self.object.status == models_pb2.STATUS_INITIALIZING
            and self.credentials.download is None
        ):
            return "the object has no content yet"
        return None


def secret_for(hook_id: str, object_id: str, public_key: str) -> str:
    """The ``secret`` Aruna computes for a hook and an object.

    Aruna 2.0.4: base64 of HMAC-SHA256, keyed with the text of the server's public key (base64
    without PEM lines), over the object's id followed by the hook's id.
    """
    digest = hmac.new(public_key.encode(), f"{object_id}{hook_id}".encode(), sha256).digest()
    return base64.b64encode(digest).decode()


def secret_is_genuine(hook: Hook, public_key: str) -> bool:
    """Whether the hook's ``secret`` was made with that public key, compared in constant time."""
    expected = secret_for(hook.hook_id, hook.object.id, public_key)
    return hmac.compare_digest(expected.encode(), hook.credentials.secret.encode())


def token_expiry(token: str) -> float | None:
    """When an Aruna token ends, in seconds since the epoch; ``None`` if it does not say.

    Read for planning only: the signature is Aruna's to check. A time that no date can hold is the
    next one that can.
    """
    try:
        claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
        expires = float(claims["exp"])
    except (IndexError, KeyError, TypeError, ValueError, OverflowError, RecursionError):
        return None
    return min(max(expires, 0.0), LAST_SECOND) if math.isfinite(expires) else None
