"""Uploads as a user makes them: signed S3 requests to the data proxy."""

from __future__ import annotations

import threading
from typing import Any

from sandbox.aruna.model import Credentials
from sandbox.aruna.presigned import REGION, key_of
from sandbox.aruna.state import State
from sandbox.s3.client import s3_client

_PART = 5 * 1024 * 1024


class Uploader:
    """One user's S3 client."""

    def __init__(self, state: State, credentials: Credentials) -> None:
        self._state = state
        self._completing: list[threading.Thread] = []
        self._client = s3_client(
            state.s3_url, REGION, credentials.access_key, credentials.secret_key
        )

    def put(self, object_id: str, data: bytes) -> None:
        """PutObject on the object's key."""
        bucket, key = self._place(object_id)
        self._client.put_object(Bucket=bucket, Key=key, Body=data)

    def put_in_parts(self, object_id: str, data: bytes) -> None:
        """A multipart upload of two parts at least; its completion goes on in the background."""
        bucket, key = self._place(object_id)
        begun = self._client.create_multipart_upload(Bucket=bucket, Key=key)
        place = {"Bucket": bucket, "Key": key, "UploadId": begun["UploadId"]}
        size = min(_PART, max(1, len(data) // 2))
        parts = [
            self._part(place, number, data[start : start + size])
            for number, start in enumerate(range(0, len(data), size), start=1)
        ]
        completing = threading.Thread(
            target=self._client.complete_multipart_upload,
            kwargs={**place, "MultipartUpload": {"Parts": parts}},
            name="sandbox-upload",
        )
        completing.start()
        self._completing.append(completing)

    def close(self) -> None:
        """Wait for the completions, close the connections."""
        for completing in self._completing:
            completing.join()
        self._client.close()

    def _part(self, place: Any, number: int, data: bytes) -> dict[str, Any]:
        sent = self._client.upload_part(**place, PartNumber=number, Body=data)
        return {"ETag": sent["ETag"], "PartNumber": number}

    def _place(self, object_id: str) -> tuple[str, str]:
        path = self._state.paths(object_id)[0]
        bucket = self._state.resources[path[0]].name
        return bucket, key_of(self._state, path)
