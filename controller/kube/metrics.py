"""The machinery's Prometheus metrics, in one place so that names and labels stay few.

Labels are names of queues, controllers and resource kinds, never of objects: their number is fixed by
the program, not by its users.
"""

from __future__ import annotations

import bisect
import functools
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import REGISTRY, Counter, Gauge
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

from controller.kube.queuecore import Statistics

_SECONDS = (0.001, 0.01, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 300.0)


class Durations:
    """Seconds, counted in plain numbers: what a ``Histogram`` keeps are objects with a lock each, and two of
    those were a tenth of what the machinery costs for a key."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(_SECONDS) + 1)
        """By bucket, not cumulative; the last is for what is longer than all."""
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect.bisect_left(_SECONDS, seconds)] += 1
        self.total += seconds


class _Histogram(Collector):
    """Makes a Prometheus histogram of :class:`Durations` when somebody reads it, and not before."""

    def __init__(self, name: str, documentation: str) -> None:
        self._name, self._documentation = name, documentation
        self._durations: dict[str, Durations] = {}
        REGISTRY.register(self)

    def labels(self, name: str) -> Durations:
        return self._durations.setdefault(name, Durations())

    def collect(self) -> Iterator[HistogramMetricFamily]:
        family = HistogramMetricFamily(self._name, self._documentation, labels=["name"])
        bounds = [*map(str, _SECONDS), "+Inf"]
        for name, durations in self._durations.items():
            buckets = [*zip(bounds, map(float, accumulate(durations.counts)), strict=True)]
            family.add_metric([name], buckets, durations.total)
        yield family


QUEUE_ADDS = Counter("workqueue_adds", "Keys added.", ["name"])
QUEUE_RETRIES = Counter("workqueue_retries", "Keys that came back after a failure.", ["name"])
QUEUE_LATENCY = _Histogram("workqueue_queue_duration_seconds", "How long keys were ready.")
QUEUE_WORK = _Histogram("workqueue_work_duration_seconds", "How long keys were in hand.")
QUEUE_DEPTH = Gauge("workqueue_depth", "Keys that are ready.", ["name", "priority"])
QUEUE_UNFINISHED = Gauge("workqueue_unfinished_work_seconds", "Time in hand, of all keys in hand.", ["name"])
QUEUE_LONGEST = Gauge(
    "workqueue_longest_running_processor_seconds", "Time in hand of the oldest key in hand.", ["name"]
)
RECONCILES = Counter("controller_reconciles", "Reconciles by outcome.", ["controller", "outcome"])
CRASHES = Counter("controller_crashes", "Reconciles that ended with an unexpected exception.", ["controller"])
OWN_WRITES_GIVEN_UP = Counter(
    "controller_own_writes_given_up", "Own writes that no cache showed in time.", ["controller"]
)
OBJECTS = Gauge("informer_objects", "Objects in the cache.", ["resource"])
WATCH_EVENTS = Counter("informer_events", "Watch events received.", ["resource"])
LISTS = Counter("informer_lists", "Complete lists received.", ["resource"])
FAILURES = Counter("informer_failures", "Lists and watches that failed.", ["resource"])
UNFIT = Counter("informer_unfit_objects", "Objects that did not fit their type.", ["resource"])
EVENTS_DROPPED = Counter("event_recorder_dropped", "Events that were not written.", ["why"])
LEADING = Gauge("leader_election_leading", "1 while this process holds the lease.", ["lease"])


@functools.cache
def reconciles(controller: str, outcome: str) -> Counter:
    """The child of :data:`RECONCILES`, looked up once."""
    return RECONCILES.labels(controller, outcome)


class QueueMeter:
    """The children of one queue, looked up once: a bound child costs a third."""

    def __init__(self, name: str) -> None:
        self._adds, self._retries = QUEUE_ADDS.labels(name), QUEUE_RETRIES.labels(name)
        self._latency, self._work = QUEUE_LATENCY.labels(name), QUEUE_WORK.labels(name)
        self._normal, self._low = QUEUE_DEPTH.labels(name, "normal"), QUEUE_DEPTH.labels(name, "low")
        self._seen_adds = 0
        self._unfinished, self._longest = QUEUE_UNFINISHED.labels(name), QUEUE_LONGEST.labels(name)

    def retried(self) -> None:
        self._retries.inc()

    def taken(self, waited: float) -> None:
        self._latency.observe(waited)

    def finished(self, seconds: float) -> None:
        self._work.observe(seconds)

    def state(self, now: Statistics) -> None:
        # Counted by the queue and not here, add by add: a storm would pay more for that than for its keys.
        self._adds.inc(now.adds - self._seen_adds)
        self._seen_adds = now.adds
        self._normal.set(now.ready - now.low)
        self._low.set(now.low)
        self._unfinished.set(now.unfinished_seconds)
        self._longest.set(now.longest_running)


class InformerMeter:
    """The children of one informer."""

    def __init__(self, resource: str) -> None:
        self.objects, self.events = OBJECTS.labels(resource), WATCH_EVENTS.labels(resource)
        self.lists, self.failures = LISTS.labels(resource), FAILURES.labels(resource)
        self.unfit = UNFIT.labels(resource)
