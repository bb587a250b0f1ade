"""The hook that Aruna should have sent, made of what the operator's token gives.

From here on it is a delivery like any other: the same journal, claims, names and callbacks.
"""

from __future__ import annotations

from aruna.api.storage.models.v2 import models_pb2

from pipeline.aruna.hook import Credentials, Hook, secret_for
from pipeline.reconcile.account import Account


def hook_for(account: Account, hook_id: str, source: models_pb2.Object) -> Hook:
    """The delivery of that hook for ``source``, an AVAILABLE object; raises ``ArunaRefused``.

    Its token and S3 credentials are the operator's, with more rights than a hook's.
    """
    credentials = account.credentials(_endpoint_of(source))
    key = account.server_key()
    return Hook(
        hook_id=hook_id,
        object=source,
        credentials=Credentials(
            secret=secret_for(hook_id, source.id, key.key),
            pubkey_serial=key.id,
            download=account.download_url(source.id),
            token=account.token,
            access_key=credentials.access_key,
            secret_key=credentials.secret_key,
        ),
    )


def _endpoint_of(source: models_pb2.Object) -> str:
    """The data proxy that has the whole object (Aruna 2.0.4: the first with a full sync)."""
    full = [endpoint.id for endpoint in source.endpoints if endpoint.HasField("full_sync")]
    return next(iter(full), "")
