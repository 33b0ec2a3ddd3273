"""A Hugging Face token by the name of a Secret: what makes the Secret, and how the ranks come by it. The token itself is never here."""

from __future__ import annotations

import re
from typing import Any

from actions.core import Change, Target
from cockpit.errors import BadInput

KEY = "HF_TOKEN"
SECRET_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,199}")
"""Capitals, as variables are named and tokens are not: a token in this place must never be repeated as a name."""
FROM_ENV, FROM_PROMPT = "env:", "prompt"
UNRECORDED = ("hf_token_from_env", "hf_token_prompt")
"""What makes the Secret once; a restored job takes the one that is there."""


def check_token(params: Any) -> None:
    """BadInput for what names no Secret or no variable; a token put where its variable's name belongs is not repeated."""
    never = "the token itself never goes on a command line"
    if params.hf_secret and not SECRET_NAME.fullmatch(params.hf_secret):
        raise BadInput("--hf-secret does not name a Secret", f"lower case letters, digits, dashes and dots; {never}")
    variable = params.hf_token_from_env
    if variable and not VARIABLE.fullmatch(variable):
        raise BadInput("--hf-token-from-env does not name an environment variable", f"the name alone, in capitals as {KEY}; {never}")
    if params.hf_token_from_env and params.hf_token_prompt:
        raise BadInput("--hf-token-from-env and --hf-token-prompt: one of them makes the Secret", "leave one out")


def source_of(params: Any) -> str:
    """Where the token comes from when the Secret is made; empty when it is there already or none is wanted."""
    return FROM_ENV + params.hf_token_from_env if params.hf_token_from_env else FROM_PROMPT if params.hf_token_prompt else ""


def secret_name(params: Any) -> str:
    """The Secret the ranks read; empty for none."""
    return params.hf_secret or (f"{params.name}-hf-token" if source_of(params) else "")


def creation(params: Any) -> tuple[Change, ...]:
    """The Secret as a first change; its data are filled in as it is made, and stand nowhere else."""
    source = source_of(params)
    if not source:
        return ()
    target = Target("Secret", secret_name(params), params.namespace, plural="secrets")
    labels = {"app.kubernetes.io/managed-by": "cockpit", "cockpit.dev/job": params.name}
    meta = {"name": target.name, "namespace": target.namespace, "labels": labels}
    body = {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": meta}
    where = "a prompt" if source == FROM_PROMPT else f"the variable {params.hf_token_from_env}"
    undo = Change("kube", "delete", target, f"delete {target}", f"kubectl delete {target}")
    line = f"kubectl create secret generic {target.name} -n {target.namespace} --from-file={KEY}=/dev/stdin"
    return (Change("kube", "create", target, f"create {target} from {where}", line, body, "application/json", inverse=undo, sealed={KEY: source}),)


def note(params: Any) -> tuple[str, ...]:
    """What is not looked at: reading a Secret, only to see whether it is there, would read the token."""
    if not secret_name(params) and params.model.startswith("hf:"):
        return (f"{params.model} is read without a token: a gated model needs --hf-secret",)
    if not params.hf_secret or source_of(params):
        return ()
    return (f"{KEY} comes from secret/{params.hf_secret}; while it is missing the pods wait with CreateContainerConfigError",)


def variable(secret: str) -> list[dict[str, Any]]:
    """The environment entry of the ranks; none without a Secret."""
    return [{"name": KEY, "valueFrom": {"secretKeyRef": {"name": secret, "key": KEY}}}] if secret else []
