"""The embedded transformation: ABCD 2.06 and 2.1 to Bioschemas JSON-LD, as a stream."""

from pipeline.transform.bioschemas.archive import transform_archive
from pipeline.transform.bioschemas.dataset import transform
from pipeline.transform.recognise import Kind, recognise

__all__ = ["Kind", "recognise", "transform", "transform_archive"]
