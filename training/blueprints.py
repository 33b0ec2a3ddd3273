"""What there is of a model before it is built: one of our presets, or a Hugging Face model (training/hub.py)."""

import os
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any, Protocol

from torch import Tensor, nn

from training.model import PRESETS, Decoder, Shape, flops_per_token

HUB = "hf:"  # before a name on the Hugging Face Hub


class BadModel(ValueError):
    """Why there is no such model; one line."""


class Blueprint(Protocol):
    """Sizes of a model, the batch and rate it trains well with, and how it is built and asked for its loss."""

    @property
    def vocab(self) -> int: ...

    @property
    def context(self) -> int:
        """Tokens in one sample."""

    @property
    def batch(self) -> int:
        """Sequences a rank takes at once."""

    @property
    def lr(self) -> float:
        """Peak learning rate of AdamW."""

    def build(self) -> nn.Module:
        """The model in fp32, in host memory; its random weights come from torch's generator."""

    def split(self, config: dict[str, Any]) -> AbstractContextManager[object]:
        """Within it `build` splits each part over the ranks as it is made: DeepSpeed's zero.Init under that configuration."""

    def blocks(self, model: nn.Module) -> Iterable[nn.Module]:
        """The layers of a built model that sharding and activation checkpointing take one by one."""

    def loss(self, module: nn.Module, tokens: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy in nats, a scalar, by the built model or what wraps it; both (batch, context), int64."""

    def flops_per_token(self, model: nn.Module) -> int:
        """Floating-point operations to train on one token."""


@dataclass(frozen=True)
class Preset:
    """Our decoder in one shape."""

    shape: Shape

    @property
    def vocab(self) -> int:
        return self.shape.vocab

    @property
    def context(self) -> int:
        return self.shape.context

    @property
    def batch(self) -> int:
        return self.shape.batch

    @property
    def lr(self) -> float:
        return self.shape.lr

    def build(self) -> nn.Module:
        return Decoder(self.shape)

    def split(self, config: dict[str, Any]) -> AbstractContextManager[object]:
        """The first values stay those of the other strategies, bit for bit: zero.Init gathers what Module.apply, which sets them, comes to."""
        import deepspeed

        return deepspeed.zero.Init(config_dict_or_path=config)

    def blocks(self, model: nn.Module) -> Iterable[nn.Module]:
        assert isinstance(model, Decoder)
        return list(model.blocks)

    def loss(self, module: nn.Module, tokens: Tensor, targets: Tensor) -> Tensor:
        return module(tokens, targets)

    def flops_per_token(self, model: nn.Module) -> int:
        return flops_per_token(model, self.shape)


def read_model(text: str, context: int | None = None, pretrained: bool = False) -> Blueprint:
    """The model that `--model` names: a preset, hf:NAME on the Hugging Face Hub, or a folder with a config.json; BadModel says why not."""
    if text in PRESETS:
        if pretrained:
            raise BadModel(f"--pretrained: {text} is a shape without weights; hf:NAME and folders have them")
        return Preset(PRESETS[text] if context is None else replace(PRESETS[text], context=context))
    folder = os.path.expanduser(text)
    if text.startswith(HUB) or os.path.isdir(folder):
        from training.hub import from_transformers  # which is wanted only here

        return from_transformers(text.removeprefix(HUB) if text.startswith(HUB) else folder, context, pretrained)
    if os.sep in text:
        raise BadModel(f"there is no folder {text}" + ("" if text[0] in "./~" else f"; on the Hugging Face Hub it is {HUB}{text}"))
    close = get_close_matches(text, list(PRESETS), n=1, cutoff=0.5)
    near = f"; did you mean {close[0]}?" if close else ""
    raise BadModel(f"unknown model {text!r}{near} (valid: {', '.join(PRESETS)}, {HUB}NAME, or a folder with a config.json)")


def constant_buffers(module: nn.Module) -> list[str]:
    """Names of buffers: of language models tables such as rotary frequencies, which no step changes."""
    return [name for name, _ in module.named_buffers()]
