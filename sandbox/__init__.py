"""A newcomer's first Aruna: Aruna, its S3 storage and GFBio on this machine's loopback ports."""

from sandbox.machinery import Ports
from sandbox.points import Call
from sandbox.refusal import Answered, Dropped, Refused
from sandbox.sandbox import Sandbox, User
from sandbox.switches import ArunaSwitches, GfbioSwitches
from sandbox.things import Right

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
]
