"""Objects as the API writes them, decoded as the sources do."""

from __future__ import annotations

from typing import Any

import msgspec


def read(kind: type, value: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value), type=kind)


def meta(name: str = "x", namespace: str = "ml", **more: Any) -> dict[str, Any]:
    return {"name": name, "namespace": namespace, "uid": f"uid-{name}", "resourceVersion": "7", **more}
