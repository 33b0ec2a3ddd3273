"""Kubernetes events, kept also after what they are about is gone and after the cluster forgets them; the newest 20,000."""

from __future__ import annotations

import msgspec

from cockpit.model import Event, PodKey
from cockpit.sources.listings import Listing
from cockpit.sources.raw import Meta, intern, seconds
from cockpit.sources.reflect import Reflector

KEPT = 20_000
MESSAGE_CHARS = 4000


class RawReference(msgspec.Struct):
    kind: str | None = None
    namespace: str | None = None
    name: str | None = None


class RawSeries(msgspec.Struct, rename="camel"):
    count: int | None = None
    last_observed_time: str | None = None


class RawSource(msgspec.Struct):
    component: str | None = None


class RawEvent(msgspec.Struct, rename="camel"):
    """A v1 Event, written by the old recorder (count, lastTimestamp, source) or the new one (series, eventTime, reportingComponent)."""

    metadata: Meta | None = None
    involved_object: RawReference | None = None
    reason: str | None = None
    message: str | None = None
    type: str | None = None
    count: int | None = None
    first_timestamp: str | None = None
    last_timestamp: str | None = None
    event_time: str | None = None
    series: RawSeries | None = None
    source: RawSource | None = None
    reporting_component: str | None = None


def to_event(raw: RawEvent) -> Event:
    """A v1 Event -> Event; `at` is when it was seen last."""
    meta, about, series = raw.metadata or Meta(), raw.involved_object or RawReference(), raw.series or RawSeries()
    times = (series.last_observed_time, raw.last_timestamp, raw.event_time, raw.first_timestamp, meta.creation_timestamp)
    return Event(
        key=PodKey(intern(meta.namespace or ""), meta.name or ""),
        involved_kind=intern(about.kind or ""),
        involved_namespace=intern(about.namespace or ""),
        involved_name=intern(about.name or ""),
        reason=intern(raw.reason or ""),
        message=(raw.message or "")[:MESSAGE_CHARS],
        type=intern(raw.type or "Normal"),
        count=series.count or raw.count or 1,
        at=next((at for text in times if (at := seconds(text)) is not None), None),
        source=intern((raw.source.component if raw.source else None) or raw.reporting_component or ""),
    )


def source() -> Reflector:
    """Every event of the cluster, or of the one namespace that may be listed."""
    return Reflector(
        "events",
        Listing(
            "events",
            ("/api/v1/events",),
            RawEvent,
            to_event,
            lambda namespace, name: None,
            lambda key: False,
            keep=KEPT,
            age=lambda row: row.at or 0.0,
            namespaced=True,
        ),
    )
