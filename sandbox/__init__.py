"""A newcomer's first Aruna: Aruna, its S3 storage and GFBio on this machine's loopback ports."""

from sandbox.points import Call
from sandbox.refusal import Answered, Dropped, Refused
from sandbox.sandbox import Ports, Sandbox, User
from sandbox.switches import ArunaSwitches, GfbioSwitches
from sandbox.world import Right

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
