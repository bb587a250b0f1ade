"""What a delivery lends is in no file once the job has succeeded; with a key it never is."""

from __future__ import annotations

import json
from pathlib import Path

from cryptography.fernet import Fernet

from sandbox import Sandbox
from tests.conftest import SAMPLE
from tests.durability.arrest import Arrest
from tests.durability.conftest import Starter
from tests.durability.kept import eventually, wait_for_the_end
from tests.whole import Whole

LENT = ("token", "access_key", "secret_key")


def lent(whole: Whole) -> list[bytes]:
    """The secrets of all deliveries so far, and the presigned URLs' signatures."""
    bodies = [json.loads(delivered.body) for delivered in whole.sandbox.deliveries]
    secrets = [body[name] for body in bodies for name in LENT]
    return [secret.encode() for secret in secrets + [_signature(body) for body in bodies]]


def kept(whole: Whole) -> set[bytes]:
    """Those of them that are in a file of the journal."""
    found = Path(whole.service.environment["STATE_DIR"]).iterdir()
    content = b"".join(file.read_bytes() for file in found if file.is_file())
    return {secret for secret in lent(whole) if secret in content}


def test_a_job_that_succeeded_leaves_no_credentials_in_any_file(
    sandbox: Sandbox, start_service: Starter
) -> None:
    whole = Whole.of(sandbox, start_service())
    held = Arrest(sandbox, "gfbio.result")
    source = whole.upload("plants.xml", SAMPLE)
    held.wait()
    sandbox.wait_for(lambda: sandbox.deliveries)
    assert kept(whole) == set(lent(whole))
    held.let_go(effect=True)
    wait_for_the_end(whole, source)
    eventually(lambda: not kept(whole), timeout=5)


def test_a_job_that_was_lost_and_done_again_leaves_none_either(
    sandbox: Sandbox, start_service: Starter
) -> None:
    whole = Whole.of(sandbox, start_service())
    held = Arrest(sandbox, "s3.put")
    source = whole.upload("plants.xml", SAMPLE)
    held.wait()
    whole.service.kill()
    held.let_go()
    assert kept(whole)
    whole.service.start()
    wait_for_the_end(whole, source)
    eventually(lambda: not kept(whole), timeout=5)


def test_with_a_key_no_credential_is_ever_in_a_file(
    sandbox: Sandbox, start_service: Starter
) -> None:
    whole = Whole.of(sandbox, start_service(JOURNAL_KEY=Fernet.generate_key().decode()))
    held = Arrest(sandbox, "gfbio.result")
    source = whole.upload("plants.xml", SAMPLE)
    held.wait()
    sandbox.wait_for(lambda: sandbox.deliveries)
    assert kept(whole) == set()
    held.let_go(effect=True)
    wait_for_the_end(whole, source)
    assert len(lent(whole)) == len(LENT) + 1
    assert kept(whole) == set()


def _signature(body: dict[str, str]) -> str:
    return body["download"].partition("X-Amz-Signature=")[2].partition("&")[0]
