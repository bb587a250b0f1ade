"""An S3 request, and whether it may do what it wants."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from sandbox.aruna.model import Resource, Right
from sandbox.aruna.state import State
from sandbox.errors import Dropped
from sandbox.http_server import Exchange
from sandbox.s3.errors import s3_error
from sandbox.s3.keys import Place, project_at
from sandbox.s3.signature import Signed

#: Sends the answer, once everything that the request does is done.
Reply = Callable[[Exchange], None]


@dataclass(frozen=True)
class S3Request:
    """A request, where it goes and who signed it."""

    exchange: Exchange
    place: Place
    signed: Signed | None
    query: dict[str, str]

    @property
    def by(self) -> str:
        """Whose request it is: a hook's receiver, another user, or nobody who has signed it."""
        if self.signed is None:
            return "nobody"
        return "hook" if self.signed.credentials.token.project_id else "user"

    @property
    def details(self) -> dict[str, str]:
        """What the request is about, for those who watch its calls."""
        return {
            "bucket": self.place.bucket,
            "key": self.place.key,
            "by": self.by,
            "part": self.query.get("partNumber", ""),
        }


def require(state: State, request: S3Request, right: Right) -> None:
    """Raise an S3 error unless the request's credentials have ``right`` on the bucket's project.

    Aruna 2.0.4 closes the connection on whoever writes without a signature.
    """
    project = project_at(state, request.place)
    if request.signed is None:
        if right > Right.READ:
            raise Dropped
        raise s3_error(403, "AccessDenied", "Missing access key")
    if not state.allows(request.signed.credentials.token, project.id, right):
        raise s3_error(403, "AccessDenied", "Access Denied")


def writer(state: State, request: S3Request) -> Signed:
    """The signature of a request that may write; raises an S3 error otherwise."""
    require(state, request, Right.APPEND)
    if request.signed is None:
        raise Dropped
    return request.signed


def is_known(resource: Resource) -> bool:
    """Whether the data proxy has heard of the object yet."""
    return time.monotonic() >= resource.proxy_knows_at
