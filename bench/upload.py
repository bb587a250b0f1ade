"""How fast a stream becomes an object, and in how much memory, beside what one would pick instead.

Each way to upload runs in a process of its own, in turn, several times: 256 MB into a sink that
takes all it gets, and 1 GB from a source of 100 MB/s into a sink of 60 MB/s for each connection and
100 ms for each part. Ratios are to ``upload_fileobj``, and where the source is limited to its rate.
``raw HTTP`` is the ceiling: the same parts over bare sockets, unsigned.
"""

from __future__ import annotations

import argparse
import http.client
import importlib.util
import io
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from bench.report import Line, Report, ratio
from bench.sink import OBJECT_ID
from bench.surroundings import serving, watched_memory
from pipeline.aruna.s3 import Place, s3_client
from pipeline.aruna.upload import upload
from pipeline.attempt import Attempt
from pipeline.net.addresses import Addresses

PART_SIZE = 10 * 1024 * 1024
CONCURRENCY = 4
BLOCK = 256 * 1024
YARDSTICK = "boto3 upload_fileobj"


@dataclass(frozen=True)
class Scene:
    """A source of ``length`` bytes at ``rate`` bytes a second, and how the sink is started."""

    length: int
    rate: float | None
    sink: tuple[str, ...]
    rounds: int


SCENES = {
    "unlimited": Scene(256 * 2**20, None, (), 11),
    "limited": Scene(2**30, 100e6, ("--rate", "60e6", "--delay", "0.1"), 2),
}


def source(scene: Scene) -> Iterator[bytes]:
    """New blocks of 256 KiB, as a socket gives them."""
    block = memoryview(os.urandom(BLOCK))
    began = time.perf_counter()
    for number in range(scene.length // BLOCK):
        if scene.rate:
            time.sleep(max(0.0, began + number * BLOCK / scene.rate - time.perf_counter()))
        yield bytes(block)


class SourceFile(io.RawIOBase):
    """The same source as the file that boto3 and obstore ask for."""

    def __init__(self, scene: Scene) -> None:
        self._blocks = source(scene)
        self._rest = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        pieces = []
        while size > 0 and (self._rest or (rest := next(self._blocks, b""))):
            taken = (self._rest or rest)[:size]
            self._rest = (self._rest or rest)[size:]
            pieces.append(taken)
            size -= len(taken)
        return b"".join(pieces)


def ours(port: int, scene: Scene) -> Callable[[], object]:
    place = Place(f"http://127.0.0.1:{port}", "bucket", "key", "R", True)
    client = s3_client(place, "access", "secret", Addresses(insecure=True))
    s3 = client.__enter__()
    config: Any = s3.client.meta.config
    config.s3["payload_signing_enabled"] = False
    return lambda: upload(
        source(scene),
        s3,
        place,
        OBJECT_ID,
        Attempt(600),
        part_size=PART_SIZE,
        concurrency=CONCURRENCY,
        before_write=lambda: None,
    )


def upload_fileobj(port: int, scene: Scene) -> Callable[[], object]:
    from boto3.s3.transfer import TransferConfig

    client = boto3_client(port)
    config = TransferConfig(
        multipart_threshold=PART_SIZE, multipart_chunksize=PART_SIZE, max_concurrency=CONCURRENCY
    )
    return lambda: client.upload_fileobj(SourceFile(scene), "bucket", "key", Config=config)


def upload_part(port: int, scene: Scene) -> Callable[[], object]:
    client = boto3_client(port)

    def run() -> None:
        file = SourceFile(scene)
        where = {"Bucket": "bucket", "Key": "key"}
        upload_id = client.create_multipart_upload(**where)["UploadId"]
        parts: list[Any] = []
        while body := file.read(PART_SIZE):
            part = {"PartNumber": len(parts) + 1}
            answer = client.upload_part(**where, **part, UploadId=upload_id, Body=body)
            parts.append({**part, "ETag": answer["ETag"]})
        client.complete_multipart_upload(
            **where, UploadId=upload_id, MultipartUpload={"Parts": parts}
        )

    return run


def obstore(port: int, scene: Scene) -> Callable[[], object]:
    import obstore
    from obstore.store import S3Store

    store = S3Store(
        "bucket",
        endpoint=f"http://127.0.0.1:{port}",
        access_key_id="access",
        secret_access_key="secret",
        region="R",
        unsigned_payload=True,
        client_options={"allow_http": True},
    )
    return lambda: obstore.put(
        store,
        "key",
        source(scene),
        use_multipart=True,
        chunk_size=PART_SIZE,
        max_concurrency=CONCURRENCY,
    )


def raw_http(port: int, scene: Scene) -> Callable[[], object]:
    def send(connection: http.client.HTTPConnection, part: bytearray) -> None:
        connection.request("PUT", "/bucket/key?partNumber=1&uploadId=u", body=part)
        connection.getresponse().read()

    def run() -> None:
        free = [bytearray(PART_SIZE) for _ in range(CONCURRENCY + 1)]
        lines = [http.client.HTTPConnection("127.0.0.1", port) for _ in range(CONCURRENCY)]
        file = SourceFile(scene)
        with ThreadPoolExecutor(CONCURRENCY) as threads:
            sending: list[Any] = []
            for number in range(-(-scene.length // PART_SIZE)):
                part = free.pop()
                with memoryview(part) as view:
                    filled = 0
                    while filled < PART_SIZE and (block := file.read(BLOCK)):
                        view[filled : filled + len(block)] = block
                        filled += len(block)
                if len(sending) == CONCURRENCY:
                    done, buffer = sending.pop(0)
                    done.result()
                    free.append(buffer)
                sending.append((threads.submit(send, lines[number % CONCURRENCY], part), part))
            for done, _ in sending:
                done.result()

    return run


def boto3_client(port: int) -> Any:
    """boto3 as one would set it up, with the same signing: payloads are not hashed."""
    return boto3.client(
        "s3",
        region_name="R",
        endpoint_url=f"http://127.0.0.1:{port}",
        aws_access_key_id="access",
        aws_secret_access_key="secret",
        config=Config(
            signature_version="s3v4",
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": "path", "payload_signing_enabled": False},
        ),
    )


WAYS = {
    "this service": ours,
    YARDSTICK: upload_fileobj,
    "boto3 upload_part, one after another": upload_part,
    "obstore": obstore,
    "raw HTTP": raw_http,
}


@dataclass(frozen=True)
class Run:
    """One upload: seconds, seconds of CPU, bytes of memory above idle at its peak."""

    seconds: float
    cpu: float
    memory: int


def run_one(way: str, port: int, scene: Scene) -> Run:
    """One upload in this process."""
    run = WAYS[way](port, scene)
    Path("/proc/self/clear_refs").write_text("5")
    idle = _memory("VmRSS")
    began, cpu = time.perf_counter(), time.process_time()
    run()
    seconds = time.perf_counter() - began
    return Run(seconds, time.process_time() - cpu, _memory("VmHWM") - idle)


def _memory(name: str) -> int:
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


def measure() -> Report:
    """All ways in all scenes."""
    ways = [way for way in WAYS if way != "obstore" or importlib.util.find_spec("obstore")]
    lines: list[Line] = []
    memory: dict[str, list[tuple[float, float]]] = {}
    for name in SCENES:
        runs = run_scene(name, ways, memory)
        lines += [line(name, way, runs) for way in ways]
    return Report("upload", YARDSTICK, lines, memory)


def run_scene(
    name: str, ways: list[str], memory: dict[str, list[tuple[float, float]]]
) -> dict[str, list[Run]]:
    """Each way several times, in turn, so that a busy moment of the machine hits all of them.

    ``memory`` keeps how the last run of each went.
    """
    runs: dict[str, list[Run]] = {way: [] for way in ways}
    with serving("bench.sink", *SCENES[name].sink) as port:
        for way in ways * SCENES[name].rounds:
            command = [sys.executable, "-m", "bench.upload", "--one", way, str(port), name]
            with (
                subprocess.Popen(command, stdout=subprocess.PIPE) as it,
                watched_memory(it.pid) as memory[way],
            ):
                said, _ = it.communicate()
            runs[way].append(Run(**json.loads(said)))
    return runs


def line(name: str, way: str, runs: dict[str, list[Run]]) -> Line:
    """What a way did in a scene: MB a second, CPU time, and the greatest memory."""
    scene = SCENES[name]
    rates = {of: [scene.length / run.seconds / 1e6 for run in runs[of]] for of in (way, YARDSTICK)}
    yardstick = [scene.rate / 1e6] * scene.rounds if scene.rate else rates[YARDSTICK]
    more = {
        "CPU s": statistics.median(run.cpu for run in runs[way]),
        "peak MiB above idle": max(run.memory for run in runs[way]) / 2**20,
    }
    return Line(name, way, "MB/s", rates[way], ratio(rates[way], yardstick), more)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", nargs=3, metavar=("WAY", "PORT", "SCENE"), required=True)
    way, port, scene = parser.parse_args().one
    print(json.dumps(asdict(run_one(way, int(port), SCENES[scene]))))
