"""The run's figures for Prometheus."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest

from hgedge.preview.feed import Feed
from hgedge.preview.ledger import Ledger, Shot
from hgedge.preview.recorder import Recorder

BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
ENGINE_LABELS = ("bundle", "precision", "backend", "device")


class Metrics:
    """Counts shots; everything else is asked when it is read.

    Args:
        ledger: The figures.
        about: The engine, for a label of `hgedge_engine_info` each.
        feed: Tells how many watch.
        recorder: Tells whether a recording runs.
    """

    def __init__(self, ledger: Ledger, about: Mapping[str, Any], feed: Feed, recorder: Recorder) -> None:
        self.registry = CollectorRegistry()
        self._frames = Counter("hgedge_frames", "Frames that came out of the run", registry=self.registry)
        self._dropped = Counter("hgedge_dropped_frames", "Frames that the source threw away", registry=self.registry)
        self._people = Counter("hgedge_people", "People found, summed over frames", registry=self.registry)
        self.encoded = Counter("hgedge_preview_encoded_pictures", "Pictures encoded to show", registry=self.registry)
        self._stages = Histogram(
            "hgedge_latency_seconds", "Time of each stage", ["stage"], buckets=BUCKETS_S, registry=self.registry
        )
        self._age = Histogram("hgedge_age_seconds", "From capture to output", buckets=BUCKETS_S, registry=self.registry)
        self._dropped_before = 0
        self._gauge("hgedge_fps", "Frames a second", ledger.fps)
        self._gauge("hgedge_silent_seconds", "Since the newest frame", ledger.silent_s)
        self._gauge("hgedge_source_up", "1 while frames come", lambda: float(ledger.fps() > 0))
        self._gauge("hgedge_people_in_frame", "People in the newest frame", lambda: _people_in(ledger.newest))
        self._gauge("hgedge_preview_viewers", "Who watches the preview", lambda: feed.viewers)
        self._gauge("hgedge_recording", "1 while a recording runs", lambda: float(recorder.state.active))
        engine = Info("hgedge_engine", "The engine that runs", registry=self.registry)
        engine.info({label: _text(about[label]) for label in ENGINE_LABELS if label in about})

    def count(self, shot: Shot) -> None:
        """Count a shot."""
        self._frames.inc()
        self._people.inc(len(shot.people))
        self._dropped.inc(max(shot.dropped - self._dropped_before, 0))
        self._dropped_before = shot.dropped
        if math.isfinite(shot.age_ms):
            self._age.observe(shot.age_ms / 1000)
        for stage, latency_ms in shot.latency_ms.items():
            if math.isfinite(latency_ms):
                self._stages.labels(stage).observe(latency_ms / 1000)

    def text(self) -> bytes:
        """The metrics as Prometheus reads them."""
        return generate_latest(self.registry)

    def _gauge(self, name: str, help_text: str, ask: Callable[[], float]) -> None:
        Gauge(name, help_text, registry=self.registry).set_function(ask)


def _people_in(shot: Shot | None) -> float:
    return 0.0 if shot is None else float(len(shot.people))


def _text(value: Any) -> str:
    """A value in one line; of a record such as a device's its name."""
    return str(value.get("name", value) if isinstance(value, Mapping) else value)
