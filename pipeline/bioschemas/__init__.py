"""The embedded transformation: ABCD 2.06 and 2.1 to Bioschemas JSON-LD, as a stream."""

from pipeline.bioschemas.archive import transform_archive
from pipeline.bioschemas.dataset import transform
from pipeline.bioschemas.recognise import Kind, recognise

__all__ = ["Kind", "recognise", "transform", "transform_archive"]
