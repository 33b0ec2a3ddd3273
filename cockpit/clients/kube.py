"""The Kubernetes API as the cockpit uses it: JSON, raw pages, lines, and what it serves and allows."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import msgspec

from cockpit.clients import discovery
from cockpit.clients import kubeconfig as kubeconfigs
from cockpit.clients import pages as paging
from cockpit.clients.statuses import unserved
from cockpit.clients.streams import PIECE_BYTES
from cockpit.clients.transport import Params, Transport
from cockpit.errors import ActionFailed, CockpitError, Forbidden, NotFound, NotServed

MAY_SECONDS = 300.0


class Kube:
    """A connected API server; any thread may use it. `kubectl_flags` are those with which kubectl speaks to the same one as the same user."""

    def __init__(self, endpoint: kubeconfigs.Endpoint, timeout_seconds: float = 10.0) -> None:
        self.context, self.cluster, self.server = endpoint.context, endpoint.cluster, endpoint.server
        self.namespace, self.user = endpoint.namespace, endpoint.user
        self.kubeconfig: str | None = None
        self.impersonate: str | None = None
        self._transport = Transport(endpoint, timeout_seconds)
        self._served: Mapping[str, discovery.ServedResource] | None = None
        self._allowed: dict[tuple[str, ...], tuple[float, bool]] = {}
        self.kubectl_flags: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<Kube {self.context} {self.server}>"

    @classmethod
    def connect(
        cls,
        *,
        kubeconfig: str | None = None,
        context: str | None = None,
        namespace: str | None = None,
        impersonate: str | None = None,
        timeout_seconds: float = 10.0,
    ) -> Kube:
        """Read the kubeconfig as kubectl would; no request is made. NoKubeconfig, BadKubeconfig, NotAuthorised."""
        endpoint = kubeconfigs.endpoint(kubeconfig, context, namespace)
        if impersonate:
            endpoint = replace(endpoint, impersonate=(("Impersonate-User", impersonate),))
        kube = cls(endpoint, timeout_seconds)
        kube.kubeconfig, kube.impersonate = kubeconfig, impersonate
        named = (("--kubeconfig", kubeconfig), ("--context", context), ("--as", impersonate))
        kube.kubectl_flags = tuple(word for flag, value in named if value for word in (flag, value))
        return kube

    @property
    def credentials_told(self) -> str:
        """What we show the API server, in words; for a plugin how long its token is still good."""
        return self._transport.endpoint.credentials.told()

    @property
    def simulated(self) -> bool | None:
        """True on the practice cluster; None before the first answer."""
        return self._transport.simulated

    def close(self) -> None:
        """End open streams and idle connections."""
        self._transport.close()

    def interrupt(self) -> None:
        """End every open stream: their readers connect anew and find out whether anybody answers."""
        self._transport.interrupt()

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        body: Any = None,
        content_type: str = "application/json",
        timeout_seconds: float | None = None,
    ) -> dict[str, Any]:
        """The decoded JSON answer; a CockpitError (statuses.py) when the server says no, Unreachable when it says nothing."""
        headers = {"Accept": "application/json", "Accept-Encoding": "gzip"}
        data = body if body is None or isinstance(body, bytes) else msgspec.json.encode(body)
        if data is not None:
            headers["Content-Type"] = content_type
        return self._json(self._transport.answer(method, path, params, headers, data, timeout_seconds), method, path)

    def read(
        self, path: str, *, params: Params | None = None, accept: str = "*/*", timeout_seconds: float | None = None, limit_bytes: int | None = None
    ) -> bytes:
        """The body of a GET as it came, cut to `limit_bytes`."""
        headers = {"Accept": accept, "Accept-Encoding": "gzip"}
        if limit_bytes is None:
            return self._transport.answer("GET", path, params, headers, None, timeout_seconds)
        return self._transport.head(path, params, headers, timeout_seconds, limit_bytes)

    def pages(self, path: str, *, params: Params | None = None, limit: int = 500) -> Iterator[bytes]:
        """The raw pages of a LIST, following `continue`; Gone when the token has expired. limit 0 asks for everything at once.

        NotServed also where the server says forbidden of a resource that discovery does not list: it asks for rights before it looks for the kind.
        The first request is made at once, and while one page is taken in the next is on its way.
        """
        asked = dict(params or {}) | ({"limit": str(limit)} if limit else {})
        return paging.pages(lambda token, on_head: self._page(path, asked | ({"continue": token} if token else {}), on_head))

    def _page(self, path: str, asked: Params, on_head: Callable[[bytes], None]) -> bytes:
        try:
            headers = {"Accept": "application/json", "Accept-Encoding": "gzip"}
            return self._transport.page(path, asked, headers, paging.HEAD_BYTES, on_head)
        except Forbidden:
            if self._lists(path):
                raise
            raise unserved(path) from None

    def lines(
        self,
        path: str,
        *,
        params: Params | None = None,
        stop: threading.Event,
        timeout_seconds: float | None = None,
        piece_bytes: int = PIECE_BYTES,
        on_open: Callable[[], None] | None = None,
    ) -> Iterator[bytes]:
        """Lines of a stream (watch, log follow) without their newline, until the server ends it or `stop` is set, which ends a silent one too.

        `on_open` is called when the server has accepted, before the first line.
        Unreachable when it breaks off or is silent for `timeout_seconds`. Of a line longer than `piece_bytes` come pieces that end in
        streams.CUT.
        """
        return self._transport.lines(path, params, stop, timeout_seconds, piece_bytes, on_open)

    def served(self, refresh: bool = False) -> Mapping[str, discovery.ServedResource]:
        """Every served resource by `plural.group`, cached until `refresh`."""
        if self._served is None or refresh:
            self._served = discovery.resources(lambda path, accept: self._json(self.read(path, accept=accept), "GET", path))
        return self._served

    def crd(self, name: str) -> dict[str, Any] | None:
        """The CustomResourceDefinition `plural.group`, or None when there is none."""
        try:
            return self.request("GET", f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}")
        except (NotFound, NotServed):
            return None

    def may(self, verb: str, group: str, resource: str, namespace: str = "", name: str = "", subresource: str = "") -> bool:
        """Whether the API would allow it (SelfSubjectAccessReview), remembered for 5 minutes."""
        asked = (verb, group, resource, namespace, name, subresource)
        when, allowed = self._allowed.get(asked, (None, False))
        if when is not None and time.monotonic() - when < MAY_SECONDS:
            return allowed
        attributes = dict(zip(("verb", "group", "resource", "namespace", "name", "subresource"), asked, strict=True))
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": attributes}}
        answer = self.request("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body=review)
        allowed = bool((answer.get("status") or {}).get("allowed"))
        self._allowed[asked] = (time.monotonic(), allowed)
        return allowed

    def version(self) -> dict[str, Any]:
        """The API's version, as GET /version tells it."""
        return self.request("GET", "/version")

    def _lists(self, path: str) -> bool:
        """Whether discovery, which everyone may read, lists the collection at `path`; True where it does not say."""
        version, _, plural = path.rpartition("/")
        if not path.startswith("/apis/"):
            return True
        try:
            found = self.request("GET", version.split("/namespaces/", 1)[0])
        except (NotServed, NotFound):
            return False
        except CockpitError:
            return True
        return any(isinstance(one, dict) and one.get("name") == plural for one in found.get("resources") or ())

    def _json(self, body: bytes, method: str, path: str) -> dict[str, Any]:
        try:
            found = msgspec.json.decode(body) if body else {}
        except (msgspec.DecodeError, UnicodeDecodeError):
            found = None
        if not isinstance(found, dict):
            raise ActionFailed(f"{self.server} answered {method} {path} with something that is not a JSON object", "is this a Kubernetes API?")
        return found
