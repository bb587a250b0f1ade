"""Hostile documents in Aruna: a clear label, a child that is gone, a service as before."""

from __future__ import annotations

import threading
import time

from sandbox import Sandbox
from tests.conftest import SAMPLE
from tests.running import Running
from tests.transform.bioschemas.documents import ABCD, abcd, elements
from tests.transform.bioschemas.test_archive import packed
from tests.whole import Whole

from .processes import children_of, memory_of, worker_of

MEBIBYTE = 1024 * 1024
#: Bytes by which the service's own memory may grow while all of these are worked on.
GROWTH = 96 * MEBIBYTE
#: Seconds until the service answers in the meantime.
PROMPT = 2.0
WHOLE = abcd(elements("KindOfUnit", "leaves"))
BEGIN = f'<DataSets xmlns="{ABCD}">'
LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))


def declared(declaration: str, encoding: str = "utf-8") -> bytes:
    """ABCD behind a DOCTYPE."""
    text = f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE DataSets {declaration}>{WHOLE}'
    return text.encode(encoding)


def encrypted() -> bytes:
    """An archive that says of its one document that it is encrypted."""
    data = bytearray(packed(("a.xml", WHOLE)))
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


def damaged() -> bytes:
    data = bytearray(packed(("a.xml", SAMPLE)))
    for at in range(2000, 2100):
        data[at] ^= 0xFF
    return bytes(data)


def documents() -> dict[str, bytes]:
    """What is uploaded, by its name."""
    return {
        "laughs.xml": declared(f'[<!ENTITY l0 "ha">{LAUGHS}]').replace(b"leaves", b"&l9;"),
        "quadratic.xml": declared(f'[<!ENTITY a "{"a" * 100_000}">]').replace(
            b"leaves", b"&a;" * 1000
        ),
        "utf-16.xml": declared('[<!ENTITY a "b">]', "utf-16"),
        "external.xml": declared('SYSTEM "file:///etc/passwd"'),
        "parameter.xml": declared('[<!ENTITY % p SYSTEM "http://127.0.0.1:1/p.dtd"> %p;]'),
        "entity.xml": WHOLE.replace("leaves", "&passwd;").encode(),
        "deep.xml": (BEGIN + "<a>" * 500_000).encode(),
        "attribute.xml": (BEGIN + '<DataSet a="' + "x" * 9 * MEBIBYTE).encode(),
        "name.xml": (BEGIN + "<" + "x" * 9 * MEBIBYTE).encode(),
        "comment.xml": (BEGIN + "<!--" + "x" * 9 * MEBIBYTE).encode(),
        "text.xml": WHOLE.replace("leaves", "x" * 33 * MEBIBYTE).encode(),
        "head.xml": b"<?xml version='1.0'?>" + b" " * 2 * MEBIBYTE,
        "nul.xml": SAMPLE[:1000] + bytes(1000) + SAMPLE[2000:],
        "bomb.zip": packed(("a.xml", BEGIN + " " * 100 * MEBIBYTE)),
        "nested.zip": packed(("a.xml", WHOLE), ("b.zip", packed(("a.xml", WHOLE)))),
        "encrypted.zip": encrypted(),
        "damaged.zip": damaged(),
        "cut.zip": packed(("a.xml", SAMPLE))[:-5000],
        "outside.zip": packed(("../../../etc/cron.d/a.xml", WHOLE)),
        "absolute.zip": packed(("/etc/cron.d/a.xml", WHOLE)),
        "empty.zip": packed(),
    }


def test_hostile_documents_end_in_a_label_and_harm_nobody(service: Running, aruna: Sandbox) -> None:
    whole = Whole.of(aruna, service, name="hostile")
    worker = worker_of(service)
    before = memory_of(worker)
    with Probing(service) as probing:
        sources = {whole.upload(name, data): name for name, data in documents().items()}
        whole.wait_for_callback(*sources, timeout=60)

    errors = {name: dict(whole.labels(source)).get("ERROR", "") for source, name in sources.items()}
    assert {n: said for n, said in errors.items() if not said.startswith("invalid_input: ")} == {}
    assert worker_of(service) == worker
    assert memory_of(worker) - before < GROWTH
    assert children_of(worker) == []
    assert probing.answers
    assert max(probing.answers) < PROMPT


class Probing:
    """Asks the service for its health again and again; ``answers``: the seconds each took."""

    def __init__(self, service: Running) -> None:
        self.answers: list[float] = []
        self._service = service
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._probe)

    def __enter__(self) -> Probing:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _probe(self) -> None:
        while not self._ended.wait(0.02):
            begun = time.perf_counter()
            answer = self._service.session.get(f"{self._service.url}/health", timeout=10)
            assert answer.status_code == 200
            self.answers.append(time.perf_counter() - begun)
