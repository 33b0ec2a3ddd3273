"""Models of Hugging Face's transformers: any causal language model, and sequence to sequence as T5, by name or from a local folder.

A causal model predicts each next token of a sample. A sequence-to-sequence model reads the first half of a sample in its encoder and
predicts the second half in its decoder (the prefix objective of the T5 paper, 3.2.3), so half of the tokens are predicted.
"""

import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.blueprints import BadModel
from training.model import parameter_count

LONGEST = 2_048  # default context of models that could take more
BATCH, RANDOM_LR, PRETRAINED_LR = 4, 3e-4, 2e-5
CONNECT_SECONDS = 5.0
INSTALL = "pip install 'cockpit[hub]'"


@dataclass(frozen=True)
class HubModel:
    """A model of transformers, by its configuration."""

    where: str  # name or folder
    config: Any
    context: int
    pretrained: bool
    batch: int = BATCH

    @property
    def vocab(self) -> int:
        return self.config.vocab_size

    @property
    def lr(self) -> float:
        return PRETRAINED_LR if self.pretrained else RANDOM_LR

    def build(self) -> nn.Module:
        import transformers

        auto = transformers.AutoModelForSeq2SeqLM if self.config.is_encoder_decoder else transformers.AutoModelForCausalLM
        if not self.pretrained:
            return auto.from_config(self.config, dtype=torch.float32).train()
        try:
            return auto.from_pretrained(self.where, config=self.config, dtype=torch.float32).train()
        except (OSError, ValueError) as error:
            raise BadModel(f"no weights of {self.where}: {first_sentence(error)}") from None

    @contextmanager
    def split(self, config: dict[str, Any]) -> Iterator[None]:
        """transformers enters zero.Init itself while this object of its lives, and initialises or loads what has been split."""
        try:
            from transformers.integrations import HfDeepSpeedConfig

            told = HfDeepSpeedConfig(config)
        except ImportError as error:
            raise BadModel(f"a Hugging Face model in ZeRO stage 3 needs accelerate: {first_sentence(error)}; {INSTALL}") from None
        yield
        del told

    def blocks(self, model: nn.Module) -> Iterable[nn.Module]:
        """Members of the outermost module lists, of the classes that the model names as not to be split."""
        whole = set(getattr(model, "_no_split_modules", None) or ())
        lists = list(outermost_lists(model))
        named = [member for one in lists for member in one if type(member).__name__ in whole]
        return named or [member for one in lists for member in one]

    def loss(self, module: nn.Module, tokens: Tensor, targets: Tensor) -> Tensor:
        if self.config.is_encoder_decoder:
            half = tokens.size(1) // 2
            tokens, targets = tokens[:, :half].contiguous(), tokens[:, half:]
            before = F.pad(targets[:, :-1], (1, 0), value=self.config.decoder_start_token_id)
            logits = module(input_ids=tokens, decoder_input_ids=before, use_cache=False).logits
        else:
            logits = module(input_ids=tokens, use_cache=False).logits
        return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())

    def flops_per_token(self, model: nn.Module) -> int:
        """As training.model counts them; each half of a sequence-to-sequence model sees half of the tokens."""
        config = self.config
        looked_up = 0 if config.tie_word_embeddings else config.vocab_size * config.hidden_size
        weights, layers = parameter_count(model) - looked_up, config.num_hidden_layers
        if not config.is_encoder_decoder:
            return 6 * weights + 12 * layers * config.hidden_size * self.context
        attending = layers + 2 * getattr(config, "num_decoder_layers", layers)  # a decoder layer attends twice
        return 3 * weights + 3 * attending * config.hidden_size * self.context


def from_transformers(where: str, context: int | None, pretrained: bool) -> HubModel:
    """The model of that name or folder, with at most its positions as context; BadModel says why there is none."""
    config = configuration(where)
    positions = getattr(config, "max_position_embeddings", None)
    if context is not None and positions is not None and context > positions:
        raise BadModel(f"--context {context}: {where} has {positions} positions")
    if config.is_encoder_decoder and getattr(config, "decoder_start_token_id", None) is None:
        config.decoder_start_token_id = config.pad_token_id
    longest = min(LONGEST, int(positions or getattr(config, "n_positions", None) or LONGEST))
    return HubModel(where, config, context or longest, pretrained)


def configuration(where: str) -> Any:
    """The configuration of a model that predicts text."""
    local = os.path.isdir(where)
    if local and not os.path.isfile(os.path.join(where, "config.json")):
        raise BadModel(f"{where} has no config.json")
    reachable = local or hub_is_reachable()
    try:
        from transformers import AutoConfig
        from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING
    except ImportError as error:
        raise BadModel(f"{where} needs transformers: {first_sentence(error)}; {INSTALL}") from None
    try:
        config = AutoConfig.from_pretrained(where)
    except (OSError, ValueError) as error:
        why = first_sentence(error) if reachable else f"it is not in the cache of this machine, and {endpoint()} cannot be reached"
        raise BadModel(f"no model {where}: {why}") from None
    kinds = MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING if config.is_encoder_decoder else MODEL_FOR_CAUSAL_LM_MAPPING
    if type(config) not in kinds:
        raise BadModel(f"{where} is a {config.model_type}, not a language model that is trained on text alone")
    return config


def outermost_lists(module: nn.Module) -> Iterator[nn.ModuleList]:
    for child in module.children():
        if isinstance(child, nn.ModuleList):
            yield child
        else:
            yield from outermost_lists(child)


def endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co")


def hub_is_reachable() -> bool:
    """Whether the Hub answers; where it does not, its libraries are told so before they are imported, else they try for half a minute."""
    if os.environ.get("HF_HUB_OFFLINE"):
        return False
    if os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy"):
        return True
    url = urlsplit(endpoint())
    try:
        socket.create_connection((url.hostname or "", url.port or 443), CONNECT_SECONDS).close()
    except OSError:
        os.environ["HF_HUB_OFFLINE"] = "1"
        return False
    return True


def first_sentence(error: BaseException) -> str:
    """The first line of what a library says."""
    return (str(error).strip() or type(error).__name__).split("\n", 1)[0]
