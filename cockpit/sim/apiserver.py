"""The API server: HTTPS on 127.0.0.1, bearer token, and the way from a request to its handler."""

from __future__ import annotations

import asyncio
import hmac
import logging
import ssl
from typing import TYPE_CHECKING, Any, Protocol

from aiohttp import web

from cockpit.sim.api import (
    discovery,
    errors,
    execs,
    lists,
    logs,
    openapi,
    proxies,
    rbac,
    requests,
    responses,
    reviews,
    subresources,
    verbs,
    watches,
)
from cockpit.sim.api.errors import ApiError
from cockpit.sim.api.requests import Call
from cockpit.sim.api.responses import error_response, json_response, text_response

if TYPE_CHECKING:
    from pathlib import Path

    from cockpit.sim.store import Cluster

VERSION = {
    "major": "1",
    "minor": "34",
    "gitVersion": "v1.34.2+simulated",
    "gitCommit": "0000000000000000000000000000000000000000",
    "gitTreeState": "clean",
    "buildDate": "2025-11-11T00:00:00Z",
    "goVersion": "none",
    "compiler": "none",
    "platform": "linux/amd64",
    "emulationMajor": "1",
    "emulationMinor": "34",
}
MAX_BODY_BYTES = 3 << 20
HEALTH = ("/healthz", "/livez", "/readyz")
log = logging.getLogger(__name__)


class PodRunner(Protocol):
    """What the API asks of the kubelet."""

    def log_path(self, namespace: str, pod: str, container: str, previous: bool = False) -> Path | None: ...

    def exec(self, namespace: str, pod: str, container: str, command: list[str], tty: bool) -> Any: ...

    async def proxy(self, namespace: str, pod: str, port: int | str, method: str, path: str, body: bytes) -> tuple[int, dict[str, str], bytes]: ...


class ApiServer:
    """Serves a Cluster over HTTPS; `pause` and `expire_watches` are the hooks of the faults."""

    def __init__(self, cluster: Cluster, token: str, tls: ssl.SSLContext, port: int = 0) -> None:
        self.cluster = cluster
        self.kubelet: PodRunner | None = None
        self.ready = False
        self.port = port
        self.watches = watches.Watches(cluster)
        self._token = f"Bearer {token}".encode()
        self._tls = tls
        self._snapshots = lists.Snapshots()
        self._server = web.Server(self._answer, handler_cancellation=True, access_log=None, keepalive_timeout=300)
        self._listener: asyncio.Server | None = None
        self._resuming: asyncio.Task[None] | None = None

    # -- life ----------------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen; `port` is the real one afterwards."""
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(self._server, "127.0.0.1", self.port, ssl=self._tls, reuse_address=True, backlog=512)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and end every request."""
        if self._resuming:
            self._resuming.cancel()
        self._close_listener()
        await self._server.shutdown(0.2)

    def _close_listener(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def pause(self, seconds: float) -> None:
        """Refuse and reset every connection for a while (fault api-down); a longer pause extends a running one."""
        self._close_listener()
        for connection in self._server.connections:
            if connection.transport is not None:
                connection.transport.abort()
        if self._resuming:
            self._resuming.cancel()
        self._resuming = asyncio.create_task(self._resume(seconds))

    async def _resume(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self.start()

    def expire_watches(self) -> None:
        """End every watch with a 410 and forget all older resourceVersions and continue tokens (fault watch-expire)."""
        self.watches.expire()
        self._snapshots.forget()

    # -- one request ---------------------------------------------------------------------------------------------------------

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            call = await self._call(request)
            response = await self._dispatch(call, request)
        except ApiError as error:
            return error_response(error)
        if call.warnings and not response.prepared:
            for warning in call.warnings[:8]:
                response.headers.add("Warning", f"299 - {quoted(warning)}")
        return response

    async def _call(self, request: web.BaseRequest) -> Call:
        if (request.content_length or 0) > MAX_BODY_BYTES:
            raise ApiError(413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728", {})
        body = await request.content.read(-1) if request.can_read_body else b""
        call = Call(request.method, request.path, request.query, request.headers, body)
        call.user = self._user(request)
        call.target = requests.parse_target(self.cluster.kinds, request.path)
        return call

    def _user(self, request: web.BaseRequest) -> requests.User:
        given = request.headers.get("Authorization", "").encode()
        if not given and (request.path in HEALTH or request.path.startswith("/version")):
            return requests.ANONYMOUS
        if not hmac.compare_digest(given, self._token):
            raise ApiError(401, "Unauthorized", "Unauthorized")
        return requests.impersonated(request.headers, request.headers.getall("Impersonate-Group", [])) or requests.ADMIN

    async def _dispatch(self, call: Call, request: web.BaseRequest) -> web.StreamResponse:
        path = call.path.rstrip("/") or "/"
        if path.startswith(HEALTH):
            return self._health(path)
        if path == "/version":
            return json_response(VERSION)
        review = reviews.review_at(path)
        if review and call.method == "POST":
            return reviews.answer(self.cluster, call, review)
        if not call.user.is_admin:
            rbac.require(self.cluster, call)
        virtual = self._virtual(call)
        if virtual is not None:
            return virtual
        if call.target is not None:
            return await self._resource(call, request)
        return self._meta(path, call)

    def _health(self, path: str) -> web.Response:
        if path.startswith("/readyz") and not self.ready:
            return text_response("[-]scenario not applied yet\nreadyz check failed", 500)
        return text_response("ok")

    def _virtual(self, call: Call) -> web.Response | None:
        for virtual in self.cluster.virtuals:
            if call.path.startswith(virtual.prefix + "/"):
                if call.method != "GET":
                    raise errors.method_not_allowed()
                return json_response(virtual.answer(call.path.removeprefix(virtual.prefix), call.query))
        return None

    def _meta(self, path: str, call: Call) -> web.Response:
        """Discovery and OpenAPI."""
        accept = call.headers.get("Accept", "")
        parts = path.strip("/").split("/")
        found: Any = None
        if path in ("/api", "/apis"):
            return self._roots(path, accept)
        if parts[0] == "api" and len(parts) == 2:
            found = discovery.resource_list(self.cluster, "", parts[1])
        elif parts[0] == "apis" and len(parts) == 3:
            found = discovery.resource_list(self.cluster, parts[1], parts[2])
        elif parts[0] == "apis" and len(parts) == 2:
            versions = discovery.groups(self.cluster).get(parts[1])
            found = {"kind": "APIGroup", "apiVersion": "v1", **discovery.api_group(parts[1], list(versions))} if versions else None
        elif parts[0] == "openapi":
            return self._openapi(parts[1:], accept)
        elif path == "/":
            found = {"paths": ["/api", "/api/v1", "/apis", *HEALTH, "/openapi/v2", "/openapi/v3", "/version"]}
        if found is None:
            raise errors.no_such_path()
        return json_response(found)

    def _roots(self, path: str, accept: str) -> web.Response:
        form = requests.accepted_form(accept, (discovery.AGGREGATED,))
        if form.name:
            body = discovery.aggregated(self.cluster, path == "/api", form)
            kind = f"application/json;g=apidiscovery.k8s.io;v={form.version};as={discovery.AGGREGATED}"
            return json_response(body, content_type=kind)
        return json_response(discovery.api_versions() if path == "/api" else discovery.api_groups(self.cluster))

    def _openapi(self, parts: list[str], accept: str) -> web.Response:
        if parts[:1] == ["v2"]:
            if "protobuf" in accept and "application/json" not in accept:
                return responses.bytes_response(openapi.v2_protobuf(), content_type=openapi.PROTOBUF)
            return json_response(openapi.v2_json(self.cluster))
        if parts == ["v3"]:
            return json_response(openapi.v3_index(self.cluster))
        group, version = parts[2:4] if len(parts) == 4 else ["", parts[-1]]
        document = openapi.v3_document(self.cluster, group, version)
        if document is None:
            raise errors.no_such_path()
        return json_response(document)

    async def _resource(self, call: Call, request: web.BaseRequest) -> web.StreamResponse:
        target = call.where
        if target.subresource and target.subresource != "status":
            return await self._subresource(call, request)
        if target.subresource == "status" and not target.kind.status:
            raise errors.no_such_path()
        if call.method == "GET":
            if call.flag("watch"):
                return await watches.Watch(self.watches, call).run(request)
            if target.name:
                return lists.answer_get(self.cluster, call)
            return await lists.answer_list(self.cluster, self._snapshots, call, request)
        named = {"PUT": verbs.update, "PATCH": verbs.patch, "DELETE": verbs.delete}
        unnamed = {"POST": verbs.create, "DELETE": verbs.delete_collection}
        action = (named if target.name else unnamed).get(call.method)
        if action is None:
            raise errors.method_not_allowed()
        return action(self.cluster, call)

    async def _subresource(self, call: Call, request: web.BaseRequest) -> web.StreamResponse:
        target = call.where
        if target.subresource not in discovery.subresources(target.kind):
            raise errors.no_such_path()
        if target.subresource == "log":
            return await logs.answer(self.cluster, self.kubelet, call, request)
        if target.subresource == "exec":
            return await execs.answer(self.cluster, self.kubelet, call, request)
        if target.subresource == "proxy":
            return await proxies.answer(self.cluster, self.kubelet, call)
        actions = {
            ("scale", "GET"): subresources.scale,
            ("scale", "PUT"): subresources.scale,
            ("scale", "PATCH"): subresources.scale,
            ("eviction", "POST"): subresources.evict,
            ("binding", "POST"): subresources.bind,
            ("finalize", "PUT"): subresources.finalize,
        }
        action = actions.get((target.subresource, call.method))
        if action is None:
            raise errors.method_not_allowed()
        return action(self.cluster, call)


def quoted(text: str) -> str:
    """A warning text as a quoted string that is safe in a header."""
    plain = text.encode("ascii", "replace").decode().replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(char if char.isprintable() else "?" for char in plain) + '"'
