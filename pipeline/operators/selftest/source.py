"""The small document that is uploaded, and its object in Aruna."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

import requests
from aruna.api.storage.models.v2 import models_pb2
from aruna.api.storage.services.v2 import object_service_pb2

from pipeline.aruna.client import Aruna, ArunaRefused
from pipeline.aruna.objects import PARENT_FIELDS
from pipeline.attempt import Attempt
from pipeline.errors import JobFailed
from pipeline.net.addresses import Addresses
from pipeline.net.connections import session
from pipeline.operators.selftest import failures
from pipeline.operators.selftest.hooks import Listening
from pipeline.operators.selftest.place import Spot

#: The title of the document, which is the name of its result.
TITLE = "Selftest of the ABCD to Bioschemas service"
#: Seconds until Aruna's storage must have heard of the new object, and between two tries.
_KNOWN_PATIENCE = 60.0
_PAUSE = 0.5
_NOT_KNOWN_YET = ("InvalidObjectState", "NoSuchKey")
_CODE = re.compile(r"<Code>([A-Za-z]{1,60})</Code>")

_DOCUMENT = """<?xml version="1.0" encoding="UTF-8"?>
<DataSets xmlns="http://www.tdwg.org/schemas/abcd/2.06">
  <DataSet>
    <DatasetGUID>urn:abcd2bioschema:{name}</DatasetGUID>
    <TechnicalContacts>
      <TechnicalContact><Name>abcd2bioschema</Name></TechnicalContact>
    </TechnicalContacts>
    <ContentContacts>
      <ContentContact><Name>abcd2bioschema</Name></ContentContact>
    </ContentContacts>
    <Metadata>
      <Description>
        <Representation language="en">
          <Title>{title}</Title>
          <Details>A made-up unit that a selftest uploads, follows and deletes again.</Details>
          <URI>https://abcd2bioschema.example.org/selftest</URI>
        </Representation>
      </Description>
      <Scope>
        <TaxonomicTerms><TaxonomicTerm>Plantae</TaxonomicTerm></TaxonomicTerms>
      </Scope>
      <RevisionData><DateModified>{date}</DateModified></RevisionData>
      <IPRStatements>
        <Licenses>
          <License language="en">
            <Text>CC0 1.0</Text>
            <URI>https://creativecommons.org/publicdomain/zero/1.0/</URI>
          </License>
        </Licenses>
      </IPRStatements>
    </Metadata>
    <Units>
      <Unit>
        <SourceInstitutionID>selftest</SourceInstitutionID>
        <SourceID>selftest</SourceID>
        <UnitID>1</UnitID>
        <Identifications>
          <Identification>
            <Result>
              <TaxonIdentified>
                <ScientificName>
                  <FullScientificNameString>Bellis perennis L.</FullScientificNameString>
                </ScientificName>
              </TaxonIdentified>
            </Result>
          </Identification>
        </Identifications>
        <RecordBasis>PreservedSpecimen</RecordBasis>
      </Unit>
    </Units>
  </DataSet>
</DataSets>
"""


@dataclass
class Made:
    """What the selftest made and has to delete: names by id.

    ``in_doubt`` is a name that Aruna may have made an object of without saying so.
    """

    objects: dict[str, str] = field(default_factory=dict)
    in_doubt: str | None = None


def new_name() -> str:
    """A name that no other object has."""
    return f"selftest-{datetime.now(UTC).strftime('%Y%m%dT%H%M%SZ')}.xml"


def document(name: str) -> bytes:
    """A valid ABCD 2.06 document with one unit."""
    date = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return _DOCUMENT.format(name=name, title=TITLE, date=date).encode()


def create(
    aruna: Aruna, token: str, spot: Spot, name: str, plan: Listening, made: Made, attempt: Attempt
) -> str:
    """The id of the new object, without content yet; raises ``StageFailed``."""
    request = object_service_pb2.CreateObjectRequest(
        name=name,
        title=TITLE,
        description="Made by python -m pipeline selftest; it can be deleted.",
        key_values=[plan.label] if plan.label is not None and not plan.late else [],
        data_class=models_pb2.DATA_CLASS_PUBLIC,
    )
    setattr(request, PARENT_FIELDS[spot.variant], spot.id)
    try:
        created = aruna.create_object(token, request, attempt)
    except ArunaRefused as refusal:
        if refusal.unreachable:
            made.in_doubt = name
        raise failures.not_created(refusal, spot) from refusal
    made.objects[created.id] = name
    return str(created.id)


def fill(
    aruna: Aruna, token: str, object_id: str, content: bytes, addresses: Addresses, attempt: Attempt
) -> None:
    """Upload the content; raises ``StageFailed``.

    Aruna 2.0.4: a token for one project gets no S3 credentials, but a presigned URL.
    """
    try:
        url = aruna.upload_url(token, object_id, attempt)
    except ArunaRefused as refusal:
        raise failures.not_writable(refusal) from refusal
    until = time.monotonic() + _KNOWN_PATIENCE
    while True:
        status, code = _answer_to_put(url, content, addresses)
        if status == requests.codes.ok:
            return
        # Aruna 2.0.4: InvalidObjectState until the data proxy has heard of the new object.
        refused = status < 500 and code not in _NOT_KNOWN_YET
        if refused or time.monotonic() > until:
            raise failures.not_uploaded(f"{status} {code}".rstrip(), refused=refused)
        attempt.wait(_PAUSE)


def label(aruna: Aruna, token: str, object_id: str, plan: Listening, attempt: Attempt) -> None:
    """Add the label that fires the hook; raises ``StageFailed``."""
    if plan.label is None:
        return
    try:
        aruna.add_label(token, object_id, plan.label, attempt)
    except ArunaRefused as refusal:
        raise failures.not_writable(refusal) from refusal


def _answer_to_put(url: str, content: bytes, addresses: Addresses) -> tuple[int, str]:
    """The status of the answer, and S3's code for it."""
    try:
        with session(addresses) as http:
            answer = http.put(url, data=content, allow_redirects=False)
    except JobFailed as failure:
        raise failures.storage_forbidden(failure.message) from failure
    except requests.RequestException as error:
        raise failures.storage_unreachable(url.partition("?")[0], error) from error
    code = _CODE.search(answer.text)
    return answer.status_code, code[1] if code else ""
