"""Amazon ECR: a repository for an image, and the short-lived password that docker logs in with."""

from __future__ import annotations

import base64
import contextlib
import os
from typing import Any

from cockpit.errors import ActionFailed, BadInput, NotAuthorised, Unreachable

HINT = "aws configure, or AWS_PROFILE and AWS_REGION; aws sts get-caller-identity tells who you are"


class Registry:
    """The private registry of this account in one region; nothing is asked before it is used."""

    def __init__(self, region: str = "") -> None:
        self._region = region

    def locate(self) -> tuple[str, str]:
        """(account id, region) of the credentials at hand; NotAuthorised without any, BadInput without a region."""
        session = self._session()
        with _told():
            return str(session.client("sts").get_caller_identity()["Account"]), str(session.region_name)

    def create(self, repository: str) -> bool:
        """Create a repository that scans what is pushed and keeps its tags; False when it is there already."""
        client = self._session().client("ecr")
        with _told():
            try:
                client.create_repository(
                    repositoryName=repository,
                    imageScanningConfiguration={"scanOnPush": True},
                    tags=[{"Key": "app.kubernetes.io/managed-by", "Value": "cockpit"}],
                )
            except client.exceptions.RepositoryAlreadyExistsException:
                return False
        return True

    def password(self) -> str:
        """What `docker login --username AWS --password-stdin` reads; good for 12 hours, and never shown."""
        with _told():
            found = self._session().client("ecr").get_authorization_token()
        token = found["authorizationData"][0]["authorizationToken"]
        return base64.b64decode(token).decode().partition(":")[2]

    def _session(self) -> Any:
        import boto3

        with _told():
            session = boto3.Session(region_name=self._region or os.environ.get("AWS_REGION") or None)
        if not session.region_name:
            raise BadInput("no AWS region", "--region, or AWS_REGION")
        return session


@contextlib.contextmanager
def _told() -> Any:
    """What boto3 raises, in our words; its own texts name operations and accounts, never keys."""
    from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError, NoCredentialsError

    try:
        yield
    except NoCredentialsError:
        raise NotAuthorised("no AWS credentials", HINT) from None
    except EndpointConnectionError as error:
        raise Unreachable(f"AWS does not answer: {error}"[:300]) from None
    except ClientError as error:
        told = error.response.get("Error") or {}
        text = f"{error.operation_name}: {told.get('Code')}: {told.get('Message')}"[:400]
        if told.get("Code") in ("AccessDeniedException", "UnrecognizedClientException", "ExpiredTokenException", "InvalidClientTokenId"):
            raise NotAuthorised(text, HINT) from None
        raise ActionFailed(text) from None
    except BotoCoreError as error:
        raise ActionFailed(f"{type(error).__name__}: {error}"[:300], HINT) from None
