"""Loads and saves pretrained encoders and tokenizers in Hugging Face's format.

The only module that imports transformers, and only inside functions: spaCy imports this package
whenever it builds any pipeline, so the import of transformers has to wait until it is needed.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

import torch

from trfcli_pipeline.errors import EncoderError, one_line

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

# Tokenizers without a limit of their own say so with a number like 1e30.
_NO_LIMIT = 10**6


def load_tokenizer(path: Path) -> "PreTrainedTokenizerBase":
    """Load the tokenizer of a directory, ready to encode texts whole (see `encode_whole`).

    Raises:
        EncoderError: The directory has no tokenizer.
    """
    from transformers import AutoTokenizer

    with quiet(), _explain(f"{path}: can't load the tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(
            path,
            # What a component saved has no config.json: its tokenizer_config.json says it all.
            config=load_config(path) if (path / "config.json").exists() else None,
            local_files_only=True,
            trust_remote_code=False,
        )
    if len(tokenizer) <= len(tokenizer.all_special_tokens):
        # With only a config.json, transformers makes up a tokenizer of special tokens.
        raise EncoderError(
            f"{path}: has no tokenizer", hint="Add the model's tokenizer.json or vocabulary file"
        )
    encode_whole(tokenizer, None)
    return tokenizer


def encode_whole(tokenizer: "PreTrainedTokenizerBase", limit: int | None) -> None:
    """Have a tokenizer encode texts as they are: unpadded, cut only at the model's limit.

    Text that looks like a special token becomes text. tokenizer.json doesn't keep that setting,
    so it has to be made anew for every copy.
    """
    tokenizer.truncation_side = "right"
    if not tokenizer.is_fast:
        return
    backend = tokenizer.backend_tokenizer
    backend.no_padding()
    backend.encode_special_tokens = True
    if limit is None:
        backend.no_truncation()
    else:
        backend.enable_truncation(limit)


def load_encoder(
    path: Path,
    *,
    all_attentions: bool = False,
    device: torch.device | None = None,
    dtype: torch.dtype = torch.float32,
) -> "PreTrainedModel":
    """Load the encoder of a directory, in evaluation mode.

    A pooler without trained weights is left out: transformers would make up random ones.

    Args:
        all_attentions: Load it so that it can return attentions, which is slower.
        dtype: What its weights become, whatever they are saved as.

    Raises:
        EncoderError: The directory has no encoder that can be loaded, or weights are missing.
    """
    from transformers import AutoModel

    with quiet(), _explain(f"{path}: can't load the encoder"):
        config = load_config(path)
        if config.is_encoder_decoder:
            raise EncoderError(
                f"{path}: {config.model_type} is an encoder-decoder",
                hint="Use an encoder (BERT, RoBERTa, ...) or a decoder (GPT-2, ...)",
            )
        model, loading = AutoModel.from_pretrained(
            path,
            config=config,
            dtype=dtype,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            # SDPA returns no attentions.
            attn_implementation="eager" if all_attentions else None,
        )
    missing = sorted(loading["missing_keys"])
    if any(key.startswith("pooler.") for key in missing):
        model.pooler = None
        missing = [key for key in missing if not key.startswith("pooler.")]
    if missing:
        raise EncoderError(
            f"{path}: weights are missing ({len(missing)}, such as {missing[0]})",
            hint="Use the directory that the model was saved to, with all of its files",
        )
    return model.eval().to(device)


def max_length(
    path: Path, tokenizer: "PreTrainedTokenizerBase", *, exact: bool = True
) -> int | None:
    """The most wordpieces, special tokens included, that the encoder takes; None for no limit.

    Args:
        exact: Whether to ask the encoder's code where that has a say, which takes a second to
            import. If not, the limit may be too low by the special tokens up to padding.
    """
    limits = [tokenizer.model_max_length]
    with quiet(), _explain(f"{path}: can't read the encoder's config"):
        config = load_config(path)
        n_positions = getattr(config, "max_position_embeddings", None) or _NO_LIMIT
        limits.append(n_positions)
        # RoBERTa and its kin number positions from the padding index on, which costs them some.
        behind_padding = n_positions - (config.pad_token_id or 0) - 1
        if min(limits) > behind_padding:
            limits += _positions(config) if exact else [behind_padding]
    limit = min(limit for limit in limits if limit > 0)
    return limit if limit < _NO_LIMIT else None


def _positions(config: "PretrainedConfig") -> Iterator[int]:
    """How many positions are left where an encoder numbers them from the padding index on."""
    from transformers import AutoModel

    with torch.device("meta"):
        model = AutoModel.from_config(config)
    for name, module in model.named_modules():
        padding = getattr(module, "padding_idx", None)
        if name.endswith("position_embeddings") and padding is not None:
            yield len(module.weight) - padding - 1


def describe_config(config: "PretrainedConfig") -> dict[str, Any]:
    """The facts of a config that people know models by."""
    return {
        "model_type": config.model_type,
        "layers": config.num_hidden_layers,
        "width": config.hidden_size,
        # Some have none: FNet mixes wordpieces by a Fourier transform.
        "heads": getattr(config, "num_attention_heads", None),
    }


def to_files(save_pretrained: Callable[[Path], Any]) -> dict[str, bytes]:
    """What `save_pretrained` of a tokenizer or model writes, as the contents of each file."""
    with tempfile.TemporaryDirectory() as folder:
        save(save_pretrained, Path(folder))
        return {
            str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(Path(folder).rglob("*"))
            if path.is_file()
        }


@contextmanager
def from_files(files: dict[str, bytes]) -> Iterator[Path]:
    """The inverse of `to_files`: a directory with these files, for as long as it is needed."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            path = Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        yield Path(folder)


def save(save_pretrained: Callable[[Path], Any], path: Path) -> None:
    """Let a tokenizer or model write its files, without the progress bar."""
    with quiet():
        save_pretrained(path)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' remarks and progress bars, and put its settings back afterwards."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def load_config(path: Path) -> "PretrainedConfig":
    """Read the config of a directory.

    One from before transformers knew model types is taken for that of its architecture
    ("BertForMaskedLM"), or else of the type that the directory's name contains, or that of the
    nearest directory around it ("scibert-scivocab-uncased").
    """
    from transformers import AutoConfig, PretrainedConfig

    facts, _ = PretrainedConfig.get_config_dict(path, local_files_only=True)
    if "model_type" in facts:
        return AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    model_type = _type_of_architectures(facts.get("architectures") or []) or _type_of_path(
        path, facts
    )
    if model_type is None:
        raise EncoderError(
            f"{path}: its config.json doesn't say what kind of model it is",
            hint='Add a line such as "model_type": "bert" to it',
        )
    return AutoConfig.for_model(model_type, **facts)


def _type_of_architectures(names: list[str]) -> str | None:
    from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

    for model_type, base in MODEL_MAPPING_NAMES.items():
        # The heads on a BertModel are called BertForMaskedLM and so on.
        if isinstance(base, str) and base.endswith("Model"):
            heads = base.removesuffix("Model") + "For"
            if any(name == base or name.startswith(heads) for name in names):
                return model_type
    return None


def _type_of_path(path: Path, facts: dict[str, Any]) -> str | None:
    from transformers import CONFIG_MAPPING

    def misfit(model_type: str) -> tuple[int, int]:
        # "scibert" contains "ibert" too, but its config lacks what one of I-BERT has. Those of
        # BERT and RoBERTa are alike, and "roberta" contains "bert": then the longer name is meant.
        return len(CONFIG_MAPPING[model_type]().to_dict().keys() - facts.keys()), -len(model_type)

    for folder in (path.resolve(), *path.resolve().parents):
        found = [each for each in CONFIG_MAPPING if each in folder.name.lower()]
        if found:
            return min(found, key=misfit)
    return None


@contextmanager
def _explain(problem: str) -> Iterator[None]:
    """Turn what transformers says about unusable files into one line of ours."""
    from safetensors import SafetensorError

    try:
        yield
    except EncoderError:
        raise
    except UnpicklingError as error:
        raise EncoderError(
            f"{problem}: its file holds more than weights, such as code that loading would run",
            hint="Use a checkpoint in safetensors",
        ) from error
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        raise EncoderError(f"{problem}: {one_line(error)}") from error
