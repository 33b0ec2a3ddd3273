"""Watches over HTTPS: events, selectors, bookmarks, initial events, time-outs and 410."""

from __future__ import annotations

import http.client
import json
from typing import Any

import pytest

from cockpit.sim.api import history, watches
from tests.sim.serving import Served, eventually

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


class Stream:
    """An open watch, read event by event."""

    def __init__(self, served: Served, query: str, path: str = CONFIG_MAPS, **headers: str) -> None:
        self.connection: http.client.HTTPSConnection = served.connect()
        self.connection.request("GET", f"{path}?watch=1&{query}", headers={"Authorization": f"Bearer {served.state.token()}", **headers})
        self.response = self.connection.getresponse()
        assert self.response.status == 200

    def next(self) -> dict[str, Any]:
        line = self.response.readline()
        assert line, "the watch ended"
        event: dict[str, Any] = json.loads(line)
        return event

    def ended(self) -> bool:
        return self.response.readline() == b""

    def close(self) -> None:
        self.connection.close()


def create(served: Served, name: str, **labels: str) -> str:
    made = served.post(CONFIG_MAPS, {"metadata": {"name": name, "labels": labels}})
    return str(made["metadata"]["resourceVersion"])


def test_a_watch_goes_on_from_a_version(served: Served) -> None:
    rv = create(served, "a")
    create(served, "b")
    stream = Stream(served, f"resourceVersion={rv}")
    event = stream.next()
    assert (event["type"], event["object"]["metadata"]["name"], event["object"]["kind"]) == ("ADDED", "b", "ConfigMap")
    served.request("PATCH", f"{CONFIG_MAPS}/a", {"data": {"x": "1"}}, "application/merge-patch+json")
    assert stream.next()["type"] == "MODIFIED"
    served.request("DELETE", f"{CONFIG_MAPS}/a")
    gone = stream.next()
    assert gone["type"] == "DELETED" and gone["object"]["data"] == {"x": "1"}
    assert int(gone["object"]["metadata"]["resourceVersion"]) > int(rv) + 2
    stream.close()
    assert eventually(lambda: served.sim.api.watches.open == 0)


def test_without_a_version_everything_comes_first(served: Served) -> None:
    create(served, "a")
    stream = Stream(served, "")
    assert stream.next()["object"]["metadata"]["name"] == "a"
    stream.close()


def test_selectors_turn_changes_into_added_and_deleted(served: Served) -> None:
    rv = create(served, "a", team="red")
    stream = Stream(served, f"resourceVersion={rv}&labelSelector=team%3Dblue")
    for team in ("blue", "red"):
        served.request("PATCH", f"{CONFIG_MAPS}/a", {"metadata": {"labels": {"team": team}}}, "application/merge-patch+json")
    assert [stream.next()["type"] for _ in range(2)] == ["ADDED", "DELETED"]
    stream.close()


def test_one_name_alone(served: Served) -> None:
    rv = create(served, "a")
    stream = Stream(served, f"resourceVersion={rv}&fieldSelector=metadata.name%3Dc")
    create(served, "b")
    create(served, "c")
    assert stream.next()["object"]["metadata"]["name"] == "c"
    stream.close()


def test_an_old_version_gets_410_in_the_stream(served: Served) -> None:
    rv = create(served, "a")
    served.run(served.sim.api.expire_watches)
    stream = Stream(served, f"resourceVersion={rv}")
    event = stream.next()
    assert event["type"] == "ERROR" and event["object"]["code"] == 410 and event["object"]["reason"] == "Expired"
    assert event["object"]["message"].startswith(f"too old resource version: {rv} (")
    assert stream.ended()
    stream.close()


def test_versions_of_an_earlier_run_are_too_old(served: Served) -> None:
    stream = Stream(served, "resourceVersion=12")
    assert stream.next()["object"]["code"] == 410
    stream.close()


def test_expiring_ends_open_watches_with_410(served: Served) -> None:
    stream = Stream(served, f"resourceVersion={create(served, 'a')}")
    assert eventually(lambda: served.sim.api.watches.open == 1)
    served.run(served.sim.api.expire_watches)
    assert stream.next()["object"]["code"] == 410 and stream.ended()
    stream.close()
    fresh = served.get(CONFIG_MAPS)["metadata"]["resourceVersion"]
    stream = Stream(served, f"resourceVersion={fresh}")
    create(served, "b")
    assert stream.next()["type"] == "ADDED"
    stream.close()


def test_the_window_is_bounded(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "WINDOW_CHANGES", 10)
    rv = create(served, "a")
    for index in range(12):
        served.request("PATCH", f"{CONFIG_MAPS}/a", {"data": {"x": str(index)}}, "application/merge-patch+json")
    stream = Stream(served, f"resourceVersion={rv}")
    assert stream.next()["object"]["code"] == 410
    stream.close()


def test_bookmarks_move_the_version(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watches, "BOOKMARK_SECONDS", 0.1)
    rv = create(served, "a")
    stream = Stream(served, f"resourceVersion={rv}&allowWatchBookmarks=true")
    served.post("/api/v1/namespaces", {"metadata": {"name": "elsewhere"}})
    event = stream.next()
    assert event["type"] == "BOOKMARK" and event["object"]["kind"] == "ConfigMap"
    assert int(event["object"]["metadata"]["resourceVersion"]) > int(rv)
    stream.close()


def test_initial_events_end_with_a_marked_bookmark(served: Served) -> None:
    create(served, "a")
    stream = Stream(served, "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true")
    assert stream.next()["type"] == "ADDED"
    event = stream.next()
    assert event["type"] == "BOOKMARK" and event["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    stream.close()
    status, body, _ = served.request("GET", f"{CONFIG_MAPS}?watch=1&sendInitialEvents=true")
    assert status == 422 and "requires setting resourceVersionMatch to NotOlderThan" in body["message"]


def test_timeout_ends_the_stream_cleanly(served: Served) -> None:
    stream = Stream(served, "timeoutSeconds=1&resourceVersion=" + create(served, "a"))
    assert stream.ended()
    stream.close()


def test_a_watch_as_table_names_columns_once(served: Served) -> None:
    rv = create(served, "a")
    stream = Stream(served, f"resourceVersion={rv}", Accept="application/json;as=Table;v=v1;g=meta.k8s.io,application/json")
    create(served, "b")
    create(served, "c")
    first, second = stream.next()["object"], stream.next()["object"]
    assert first["columnDefinitions"] and not second["columnDefinitions"]
    assert second["rows"][0]["cells"][0] == "c"
    stream.close()


def test_pause_refuses_and_resets(served: Served) -> None:
    stream = Stream(served, "resourceVersion=" + create(served, "a"))
    served.run(lambda: served.sim.api.pause(0.5))
    with pytest.raises((OSError, http.client.HTTPException)):
        while True:
            if stream.ended():
                raise ConnectionResetError
    with pytest.raises(OSError):
        served.get("/version")

    def answers() -> bool:
        try:
            return served.get("/version")["gitVersion"] == "v1.34.2+simulated"
        except OSError:
            return False
    assert eventually(answers)
