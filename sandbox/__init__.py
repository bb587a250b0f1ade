"""Aruna, its S3 storage and GFBio on this machine's loopback ports, for trials and tests.

It behaves as Aruna 2.0.4 and GFBio's public service do where that matters to a hook's receiver, the
unpleasant parts above all. Known to differ:

- of Aruna's API only the calls in ``aruna.operations`` are there, of S3 no listing, copying, bucket
  operations or ranges (a ``Range`` is ignored);
- GetPubkeys shows one data proxy instead of two, a body that is not JSON is refused with another
  sentence, GET offers fewer checksums (CRC32 and SHA-256);
- an upload without ``x-amz-meta-*`` headers after one with them keeps the object's id;
- twelve CreateObject at once are answered like one, and nothing is ever busy by itself: switches
  make it lose hooks, know objects late, finish uploads late, or forget rights;
- what the methods of ``Sandbox`` create overlaps with no CreateObject: calls of the API do.
"""

from sandbox.aruna.model import Right
from sandbox.aruna.ulid import new_ulid
from sandbox.errors import Answered, Dropped, Refused, forbidden, internal
from sandbox.failpoints import Call
from sandbox.gfbio.generated import generated_result
from sandbox.sandbox import Sandbox, User
from sandbox.servers import Ports
from sandbox.switches import ArunaSwitches, GfbioSwitches

__all__ = [
    "Answered",
    "ArunaSwitches",
    "Call",
    "Dropped",
    "GfbioSwitches",
    "Ports",
    "Refused",
    "Right",
    "Sandbox",
    "User",
    "forbidden",
    "generated_result",
    "internal",
    "new_ulid",
]
