"""Numbers for Prometheus: what was asked, how long it took, what was answered, how full it is."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from petmood.serve.gate import Gate

#: Seconds; a photo takes some hundredths, a video many.
_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 120)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Counters:
    """The numbers of one service; each has its own, so that two in a process do not mix."""

    def __init__(self, gate: Gate) -> None:
        """Start at zero."""
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "petmood_requests", "Requests by address and status.", ["path", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "petmood_request_seconds",
            "Time from the request's head to the end of its answer.",
            ["path"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.answers = Counter(
            "petmood_answers", "Animals by answer.", ["emotion", "certainty"], registry=self.registry
        )
        self.refused = Counter(
            "petmood_refused", "Requests and files without an answer.", ["reason"], registry=self.registry
        )
        self.batches = Histogram("petmood_batch_size", "Pictures of a pass.", buckets=_SIZES, registry=self.registry)
        inside = Gauge("petmood_requests_inside", "Requests that are worked on or wait.", registry=self.registry)
        inside.set_function(lambda: gate.inside)
        held = Gauge("petmood_bytes_held", "Bytes of uploads and their pixels.", registry=self.registry)
        held.set_function(lambda: gate.held)

    def text(self) -> bytes:
        """All numbers in Prometheus' text format."""
        return generate_latest(self.registry)
