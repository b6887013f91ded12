"""Weights and tokenizers that can't be used."""

import json
from functools import partial
from typing import Any

import pytest
from bad_inputs import (
    REMOVED,
    Build,
    Case,
    CheckCase,
    cut,
    drop_weight,
    edit_json,
    edit_weight,
    fifo,
    link,
    put,
    remove,
    reshape_weight,
    sharded,
    steps,
)

INIT, INSPECT = "init encoder out --lang xx", "inspect text --model encoder"
WEIGHTS, BIN = "encoder/model.safetensors", "encoder/pytorch_model.bin"
INDEX = "encoder/model.safetensors.index.json"
TOKENIZER, SETTINGS = "encoder/tokenizer.json", "encoder/tokenizer_config.json"
LAYER, WORDS = "encoder.layer.0.output.dense.weight", "embeddings.word_embeddings.weight"
NAN, INFINITE = float("nan"), float("inf")
LOAD, LOAD_TOKENIZER = "encoder: can't load the encoder", "encoder: can't load the tokenizer"
OUTSIDE = f"{INDEX}: names a file outside of the model's directory"
# Calls a function when it is unpickled.
PICKLED_CODE = b"cos\nsystem\n(S'true'\ntR."


def binary(content: bytes) -> Build:
    """The weights as a file of torch."""
    return steps(partial(remove, WEIGHTS), partial(put, BIN, content))


def index(content: Any) -> Build:
    return steps(partial(sharded, "a.safetensors"), partial(put, INDEX, json.dumps(content)))


def tokenizer(**changes: Any) -> Build:
    return partial(edit_json, TOKENIZER, **changes)


def settings(**changes: Any) -> Build:
    return partial(edit_json, SETTINGS, **changes)


def regex(pattern: str) -> Build:
    """Split words by a regular expression."""
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated"}
    return tokenizer(pre_tokenizer={**split, "invert": False})


CASES = [
    Case(
        "no weights",
        partial(remove, WEIGHTS),
        INIT,
        f"{LOAD}: Error no file named model.safetensors, …",
    ),
    Case("weights empty", partial(put, WEIGHTS, ""), INIT, f"{LOAD}: …"),
    Case(
        "weights are text",
        partial(put, WEIGHTS, "these are no weights"),
        INIT,
        f"{LOAD}: …",
    ),
    Case("weights cut off", partial(cut, WEIGHTS, 3000), INIT, f"{LOAD}: …"),
    Case(
        "weights are a named pipe",
        partial(fifo, WEIGHTS),
        INIT,
        "encoder/model.safetensors: a named pipe, not a file",
    ),
    Case(
        "weights link to themselves",
        partial(link, WEIGHTS, "model.safetensors"),
        INIT,
        "encoder/model.safetensors: can't be read (Too many levels of symbolic links)",
    ),
    Case(
        "weights are a directory",
        partial(link, WEIGHTS, "."),
        INIT,
        f"{LOAD}: Error no file named model.safetensors, …",
    ),
    Case(
        "tensor missing",
        partial(drop_weight, WEIGHTS, LAYER),
        INIT,
        "encoder: weights are missing (1, such as encoder.layer.0.output.dense.weight)",
    ),
    Case(
        "tensor of another shape",
        partial(reshape_weight, WEIGHTS, LAYER),
        INIT,
        f"encoder: {LAYER} has the shape [15, 32], but config.json asks for [16, 32]",
    ),
    Case(
        "NaN weight",
        partial(edit_weight, WEIGHTS, LAYER, NAN),
        INIT,
        f"encoder: {LAYER} contains NaN or infinite values",
    ),
    Case(
        "infinite weight",
        partial(edit_weight, WEIGHTS, WORDS, INFINITE),
        INIT,
        "encoder: embeddings.word_embeddings.weight contains NaN or infinite values",
    ),
    Case(
        "NaN bias",
        partial(edit_weight, WEIGHTS, "pooler.dense.bias", NAN),
        INIT,
        "encoder: pooler.dense.bias contains NaN or infinite values",
    ),
    Case(
        "a layer too many",
        partial(edit_json, "encoder/config.json", num_hidden_layers=3),
        INIT,
        "encoder: weights are missing (16, such as encoder.layer.2.…",
    ),
    Case(
        "shard outside",
        partial(sharded, "a.safetensors", "../b.safetensors"),
        INIT,
        f"{OUTSIDE} (../b.safetensors)",
    ),
    Case(
        "shard at an absolute path",
        index({"weight_map": {"a": "/tmp/b.safetensors"}}),
        INIT,
        f"{OUTSIDE} (/tmp/b.safetensors)",
    ),
    Case(
        "shard outside by a detour",
        partial(sharded, "a/../../b.safetensors"),
        INIT,
        f"{OUTSIDE} (a/../../b.safetensors)",
    ),
    Case(
        "shard on another drive",
        index({"weight_map": {"a": "C:b.safetensors"}}),
        INIT,
        f"{OUTSIDE} (C:b.safetensors)",
    ),
    Case(
        "shard outside, inspected",
        partial(sharded, "../b.safetensors"),
        INSPECT,
        f"{OUTSIDE} (../b.safetensors)",
    ),
    Case(
        "shard missing",
        steps(
            partial(sharded, "a.safetensors", "b.safetensors"),
            partial(remove, "encoder/b.safetensors"),
        ),
        INIT,
        f"{LOAD}: …",
    ),
    Case(
        "index without a map",
        index({}),
        INIT,
        "encoder/model.safetensors.index.json: has no weight_map with the file of each tensor",
    ),
    Case(
        "index is a list",
        index([]),
        INIT,
        "encoder/model.safetensors.index.json: not a JSON object",
    ),
    Case(
        "index maps to numbers",
        index({"weight_map": {"a": 1}}),
        INIT,
        "encoder/model.safetensors.index.json: has no weight_map with the file of each tensor",
    ),
    Case(
        "pickled code",
        binary(PICKLED_CODE),
        INIT,
        f"{LOAD}: its file contains more than weights, possibly malicious code",
    ),
    Case("torch file empty", binary(b""), INIT, f"{LOAD}: …"),
    Case(
        "adapter config is a list",
        partial(put, "encoder/adapter_config.json", "[]"),
        INIT,
        f"{LOAD}: …",
    ),
    Case(
        "inference.json is a list",
        partial(put, "encoder/inference.json", "[]"),
        INIT,
        "encoder/inference.json: can't be read: …",
    ),
    Case(
        "inference.json is null",
        partial(put, "encoder/inference.json", "null"),
        INIT,
        "encoder/inference.json: can't be read: …",
    ),
    Case(
        "no tokenizer",
        steps(partial(remove, TOKENIZER), partial(remove, SETTINGS)),
        INIT,
        "encoder: has no tokenizer",
    ),
    Case("tokenizer empty", partial(put, TOKENIZER, ""), INIT, f"{LOAD_TOKENIZER}: …"),
    Case(
        "tokenizer is a list",
        partial(put, TOKENIZER, "[]"),
        INSPECT,
        f"{LOAD_TOKENIZER}: …",
    ),
    Case(
        "tokenizer is null",
        partial(put, TOKENIZER, "null"),
        INIT,
        f"{LOAD_TOKENIZER}: …",
    ),
    Case(
        "tokenizer is a named pipe",
        partial(fifo, TOKENIZER),
        INSPECT,
        "encoder/tokenizer.json: a named pipe, not a file",
    ),
    Case(
        "tokenizer without a model",
        tokenizer(model=REMOVED),
        INIT,
        f"{LOAD_TOKENIZER}: …",
    ),
    Case(
        "unknown kind of tokenizer",
        tokenizer(model={"type": "Warp"}),
        INIT,
        f"{LOAD_TOKENIZER}: …",
    ),
    Case(
        "text as added tokens",
        tokenizer(added_tokens="x"),
        INIT,
        f"{LOAD_TOKENIZER}: …",
    ),
    Case("invalid regular expression", regex("("), INIT, f"{LOAD_TOKENIZER}: …"),
    Case(
        "endless regular expression",
        regex("(t|tt)+$"),
        f"inspect {'t' * 90}! --model encoder",
        "The tokenizer failed: …",
    ),
    Case(
        "settings are a list",
        partial(put, SETTINGS, "[]"),
        INIT,
        "encoder/tokenizer_config.json: not a JSON object",
    ),
    Case(
        "settings are null",
        partial(put, SETTINGS, "null"),
        INSPECT,
        "encoder/tokenizer_config.json: not a JSON object",
    ),
    Case(
        "list of tokenizer classes",
        settings(tokenizer_class=["Warp"]),
        INIT,
        f"{LOAD_TOKENIZER}: …",
    ),
    Case(
        "text as maximum length",
        settings(model_max_length="long"),
        INIT,
        "encoder: can't find the maximum length: …",
    ),
    Case(
        "list as maximum length",
        settings(model_max_length=[1]),
        INSPECT,
        "encoder: can't find the maximum length: …",
    ),
    Case("number as pad token", settings(pad_token=7), INIT, f"{LOAD_TOKENIZER}: …"),
    Case(
        "list as class token",
        settings(cls_token=["[CLS]"]),
        INIT,
        f"{LOAD_TOKENIZER}: …",
    ),
    Case(
        "text as id of an added token",
        settings(added_tokens_decoder={"x": {}}),
        INIT,
        f"{LOAD_TOKENIZER}: …",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_file_that_cannot_be_used_is_one_line(case: Case, check_case: CheckCase) -> None:
    check_case(case)
