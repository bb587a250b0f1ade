"""From an uploaded ABCD file to a Bioschemas object in Aruna, as a stream."""

__version__ = "1.0.0"
