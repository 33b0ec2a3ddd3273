"""AWS as the cockpit uses it: one region at a time, calls that fail with our own errors, and a table of the changes it can make.

The library is loaded with the first call. Endpoints, credentials and the region come from the environment as for every AWS tool.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from cockpit.errors import ActionFailed, BadInput, CockpitError, Conflict, Forbidden, NotAuthorised, NotFound, Unreachable

CONNECT_SECONDS, READ_SECONDS, ATTEMPTS = 5, 30, 4
MESSAGE_CHARS = 500
DENIED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "UnauthorizedException")
STRANGERS = ("AuthFailure", "ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "SignatureDoesNotMatch", "UnrecognizedClientException")
ABSENT = ("404", "NotFound", "NoSuchEntity", "ResourceNotFoundException", "RepositoryNotFoundException", "FileSystemNotFound", ".Unknown")
TAKEN = ("Duplicate", "AlreadyExists", "ResourceInUse", "EntityAlreadyExists")


class Aws:
    """A region of an account; any thread may use it."""

    def __init__(self, region: str = "") -> None:
        self._region = region
        self._session: Any = None
        self._clients: dict[str, Any] = {}

    def at(self, region: str) -> Aws:
        """The same in another region; empty keeps this one."""
        return self if not region or region == self._region else Aws(region)

    @property
    def region(self) -> str:
        """The region given, else the environment's or the profile's; BadInput when there is none."""
        found = self._region or os.environ.get("AWS_REGION") or self._opened().region_name
        if not found:
            raise BadInput("no AWS region is set", "give --region, or set AWS_REGION")
        return str(found)

    def call(self, service: str, operation: str, **arguments: Any) -> dict[str, Any]:
        """One call, as boto3 names it. NotAuthorised, Forbidden, NotFound, Unreachable, Conflict where it is there already, else ActionFailed."""
        return _told(lambda: getattr(self._client(service), operation)(**arguments), f"{service} {operation}")

    def items(self, service: str, operation: str, key: str, **arguments: Any) -> Iterator[Mapping[str, Any]]:
        """Every item of a paged listing."""
        client = self._client(service)
        if not client.can_paginate(operation):
            yield from self.call(service, operation, **arguments).get(key) or ()
            return
        pages = iter(client.get_paginator(operation).paginate(**arguments))
        while (page := _told(lambda: next(pages, None), f"{service} {operation}")) is not None:
            yield from page.get(key) or ()

    def ask(self, name: str, /, **arguments: Any) -> Any:
        """One of the readings of aws_facts.py: `subnets`, `offers`, `cluster`, ..."""
        from cockpit.clients import aws_facts

        return aws_facts.FACTS[name](self, **arguments)

    def change(self, name: str, arguments: Mapping[str, Any], say: Callable[[str], None] = lambda line: None) -> Mapping[str, Any]:
        """Make one of the changes of aws_changes.py, which looks afterwards whether it holds; what later steps may need of it."""
        from cockpit.clients import aws_changes

        return aws_changes.CHANGES[name](self, say, **arguments)

    def _opened(self) -> Any:
        if self._session is None:
            import boto3

            self._session = _told(lambda: boto3.session.Session(region_name=self._region or None), "session")
        return self._session

    def _client(self, service: str) -> Any:
        if service not in self._clients:
            from botocore.config import Config

            config = Config(connect_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS, retries={"total_max_attempts": ATTEMPTS, "mode": "standard"})
            region = "us-east-1" if service == "pricing" else self.region
            self._clients[service] = _told(lambda: self._opened().client(service, region_name=region, config=config), service)
        return self._clients[service]


def _told(ask: Callable[[], Any], what: str) -> Any:
    """What AWS says, or our own error for what it did not."""
    from botocore import exceptions, parsers

    try:
        return ask()
    except exceptions.ClientError as problem:
        raise _refusal(problem.response.get("Error") or {}, what) from None
    except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError, exceptions.TokenRetrievalError, exceptions.SSOError):
        raise NotAuthorised("there are no AWS credentials", "aws configure sso, or set AWS_PROFILE") from None
    except exceptions.ProfileNotFound as problem:
        raise BadInput(f"AWS: {problem}", "AWS_PROFILE names a profile of ~/.aws/config") from None
    except (exceptions.HTTPClientError, exceptions.ConnectionError) as problem:
        raise Unreachable(f"AWS did not answer {what}: {type(problem).__name__}", "is the region right, and is there a way out to it?") from None
    except parsers.ResponseParserError:
        raise Unreachable(f"AWS answered {what} with something that is no answer", "AWS_ENDPOINT_URL may lead somewhere else") from None
    except exceptions.BotoCoreError as problem:
        raise ActionFailed(f"AWS {what}: {problem}") from None


def _refusal(error: Mapping[str, Any], what: str) -> CockpitError:
    code, message = str(error.get("Code") or ""), str(error.get("Message") or "")[:MESSAGE_CHARS]
    text = f"AWS {what}: {code}: {message}"
    if code in DENIED:
        return Forbidden(text, "the role or user at hand lacks this permission")
    if code in STRANGERS or "Token" in code:
        return NotAuthorised(text, "sign in again: aws sso login, or renew the credentials")
    if any(word in code for word in ABSENT):
        return NotFound(text)
    if any(word in code for word in TAKEN):
        return Conflict(text)
    return ActionFailed(text)
