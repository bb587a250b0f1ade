"""The yardstick of an acknowledgement: the same web server and framework, and only JSON parsed."""

from __future__ import annotations

import json

from bottle import Bottle, HTTPResponse, request

app = Bottle()


@app.post("/webhook")  # type: ignore[untyped-decorator]
def webhook() -> HTTPResponse:
    """Parse the body and answer."""
    json.loads(request.environ["wsgi.input"].read())
    answer = {"status": "accepted", "message": "Processing started", "job_id": "0" * 16}
    return HTTPResponse(json.dumps(answer), status=202, content_type="application/json")
