"""What was uploaded is read back: AVAILABLE alone does not say that an object has its content.

Aruna 2.0.4: a CompleteMultipartUpload or PutObject that is cut off can leave an AVAILABLE object
with the right length whose content is broken, or missing.
"""

from __future__ import annotations

from pipeline.aruna.download import Source, is_whole
from pipeline.aruna.s3 import S3, Place
from pipeline.aruna.s3_client import BUCKET
from pipeline.attempt import Attempt
from pipeline.errors import Code, JobFailed
from pipeline.net.connections import session

#: Seconds between two looks at content that breaks off: it may still be re-encoded.
LOOK_PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0)
#: Seconds for which the URL is good that the content is read by.
_URL_SECONDS = 3600


def can_be_read(
    s3: S3, place: Place, attempt: Attempt, *, length: int, sha256: str | None = None
) -> bool:
    """Whether the object at ``place`` can be read to its end and has ``length`` bytes (and that
    SHA-256 in hex).

    It goes over a download's connections: the client's keep answers in memory. Raises
    ``JobFailed`` (``upload_failed``) if the storage can't be asked.
    """
    url = s3.client.generate_presigned_url(
        "get_object", Params={"Bucket": BUCKET, "Key": place.key}, ExpiresIn=_URL_SECONDS
    )
    try:
        with session(s3.connections.addresses) as http:
            return is_whole(Source(url, length, sha256), attempt, session=http)
    except JobFailed as failure:
        if failure.code is not Code.DOWNLOAD_FAILED:
            raise
        message = "the result can't be read back from Aruna's storage"
        raise JobFailed(
            Code.UPLOAD_FAILED, message, again=failure.again, patience=failure.patience
        ) from failure


def comes_to_be_read(s3: S3, place: Place, attempt: Attempt, *, length: int) -> bool:
    """Whether the object can be read to its end now, or within the next half minute."""
    for pause in (0.0, *LOOK_PAUSES):
        attempt.wait(pause)
        if can_be_read(s3, place, attempt, length=length):
            return True
    return False
