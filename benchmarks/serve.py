"""The HTTP service against the bare model: requests a second, waiting times, and memory over many requests.

    python benchmarks/serve.py MODEL.onnx --requests 10000
    python benchmarks/serve.py MODEL.onnx --requests 10000 --detector yolox_nano.onnx --photo dog.jpg

The service runs as a user starts it, in a process of its own; so do the clients, who ask again as soon as they have an
answer, each over one connection. The photo is made up (640 × 480), unless one is given. ``bare``: onnxruntime alone, on
squares that are ready, with batches as large as there are clients (32 at most); it decodes nothing and talks to nobody.
``inline``: what the service does for a photo, decoding and all, without HTTP: one thread a core, one photo after the
other. All have the whole machine, in turn; the clients' own work is part of what the service has to share it with.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil

from measuring import machine
from petmood.geometry import Box
from petmood.look import Looker
from petmood.media import encode
from petmood.parallel import cores
from petmood.runtime import OnnxModel
from petmood.serve.photos import check

CLIENTS = (1, 8, 32)
#: Seconds of a measurement of the bare model.
BARE_SECONDS = 3.0


def photo(width: int = 640, height: int = 480) -> bytes:
    """A JPEG with the detail of a photo, blue in its corner."""
    rows, columns = np.mgrid[0:height, 0:width]
    waves = 127 + 60 * np.sin(columns / 9) * np.cos(rows / 13)
    pixels = np.stack([waves, waves * rows / height, np.full_like(waves, 200)], axis=-1)
    noise = np.random.default_rng(0).normal(0, 8, pixels.shape)
    return encode((pixels + noise).clip(0, 255).astype(np.uint8), 90)


def bare_rate(model: Path, batch: int) -> float:
    """Pictures a second that onnxruntime answers, in batches of a size."""
    engine = OnnxModel(model)
    size = engine.described.image_size
    squares = np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), np.uint8)
    for _ in range(3):
        engine.believed(squares)
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < BARE_SECONDS:
        engine.believed(squares)
        count += batch
    return count / (time.perf_counter() - start)


def inline_rate(model: Path, file: str) -> float:
    """Photos a second that are decoded, cut and answered by as many threads as there are cores."""
    looker = Looker(OnnxModel(model, threads=1, spinning=False), None, whole=True)
    data = Path(file).read_bytes() if file else photo()
    until = time.perf_counter() + BARE_SECONDS

    def answered() -> int:
        count = 0
        while time.perf_counter() < until:
            found = looker.find(data, box=Box(0, 0, *check(data, most_pixels=2**31)))
            looker.answer([found])
            count += 1
        return count

    start = time.perf_counter()
    with ThreadPoolExecutor(cores()) as threads:
        counts = [threads.submit(answered) for _ in range(cores())]
        return sum(count.result() for count in counts) / (time.perf_counter() - start)


@contextlib.contextmanager
def service(arguments: argparse.Namespace) -> Iterator[tuple[psutil.Process, int]]:
    """A service in a process of its own, and its port."""
    looks = ["--detector", arguments.detector] if arguments.detector else ["--whole"]
    words = [sys.executable, "-m", "petmood", "serve", str(arguments.model), "--port", "0", *looks]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline() if process.stdout else ""
        if not line.startswith("http"):
            raise SystemExit("the service did not start")
        try:
            yield psutil.Process(process.pid), int(line.split()[0].rstrip("/").rpartition(":")[2])
        finally:
            process.terminate()


def client(port: int, request: bytes, count: int, waits: list[float]) -> None:
    """Ask so many times over one connection; seconds of each answer go into ``waits``."""
    with socket.create_connection(("127.0.0.1", port)) as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(count):
            start = time.perf_counter()
            line.sendall(request)
            answer = line.recv(65536)
            while b"\r\n\r\n" not in answer:
                answer += line.recv(65536)
            head, _, body = answer.partition(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
            while len(body) < length:
                body += line.recv(65536)
            if not head.startswith(b"HTTP/1.1 200"):
                raise SystemExit(f"refused: {body[:200]!r}")
            waits.append(time.perf_counter() - start)


def clients(port: int, count: int, requests: int, file: str = "") -> list[float]:
    """Seconds in all, then of each answer, of some clients at the same time."""
    data = Path(file).read_bytes() if file else photo()
    request = b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(
        data
    )
    waits: list[float] = []
    threads = [
        threading.Thread(target=client, args=(port, request + data, requests // count, waits)) for _ in range(count)
    ]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [time.perf_counter() - start, *waits]


def in_process(port: int, count: int, requests: int, file: str = "") -> list[float]:
    """`clients` in a process of their own: beside the service's, as other machines' would be."""
    words = [sys.executable, __file__, "--clients", f"{port},{count},{requests}", "--photo", file]
    told = subprocess.run(words, capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    return [float(word) for word in told.stdout.split()]


def percentile(waits: list[float], share: float) -> float:
    """Milliseconds within which a share of the answers came."""
    return 1000 * float(np.quantile(waits, share))


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?", help="a file of `petmood export`")
    parser.add_argument("--photo", default="", help="a JPEG to send")
    parser.add_argument("--detector", default="", help="weights; left out: the whole picture counts")
    parser.add_argument(
        "--requests", type=int, default=10_000, help="of the memory's measurement; a tenth for each rate"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--clients", default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.clients:
        port, count, requests = (int(word) for word in arguments.clients.split(","))
        print(*clients(port, count, requests, arguments.photo))
        return
    print(machine())
    each = max(64, arguments.requests // 10)
    inlines = [] if arguments.detector else [inline_rate(arguments.model, arguments.photo) for _ in range(3)]
    if inlines:
        print(f"inline: {statistics.median(inlines):.1f} photos/s")
    print("clients  bare/s  service/s  share    p50 ms  p95 ms  p99 ms")
    with service(arguments) as (process, port):
        in_process(port, 8, 64, arguments.photo)
        for count in CLIENTS:
            rates, bares, waits = [], [], []
            for _ in range(arguments.repeats):
                bares.append(bare_rate(arguments.model, count))
                seconds, *some = in_process(port, count, each, arguments.photo)
                rates.append(len(some) / seconds)
                waits += some
            bare, rate = statistics.median(bares), statistics.median(rates)
            times = "  ".join(f"{percentile(waits, share):6.1f}" for share in (0.5, 0.95, 0.99))
            print(f"{count:7}  {bare:6.1f}  {rate:9.1f}  {rate / bare:5.0%}    {times}")
        memory = [process.memory_info().rss / 2**20]
        for _ in range(10):
            in_process(port, 8, arguments.requests // 10, arguments.photo)
            memory.append(process.memory_info().rss / 2**20)
    steps = " ".join(f"{value:.0f}" for value in memory)
    print(f"memory over {arguments.requests:,} requests, MiB: {steps}")


if __name__ == "__main__":
    main()
