"""config.json files that can't be used."""

import math
from functools import partial
from typing import Any

import pytest
from bad_inputs import REMOVED, Build, Case, CheckCase, cut, edit_json, fifo, link, put

CONFIG = "encoder/config.json"
INIT, INSPECT = "init encoder out --lang xx", "inspect text --model encoder"
LOAD = "encoder: can't load the encoder"
FROM_HUB = "asks for code from the Hugging Face hub, which trf doesn't run"
KERNEL = "kernels-community/flash-attn"


def config(**changes: Any) -> Build:
    return partial(edit_json, CONFIG, **changes)


def content(text: str | bytes) -> Build:
    return partial(put, CONFIG, text)


CASES = [
    Case("empty", content(""), INIT, f"{CONFIG}: not valid JSON (…"),
    Case("list", content("[1]"), INIT, f"{CONFIG}: not a JSON object"),
    Case("list, inspected", content("[1]"), INSPECT, f"{CONFIG}: not a JSON object"),
    Case("number", content("1"), INIT, f"{CONFIG}: not a JSON object"),
    Case("null", content("null"), INSPECT, f"{CONFIG}: not a JSON object"),
    Case(
        "nested deeply",
        content("[" * 100_000),
        INIT,
        f"{CONFIG}: not valid JSON (nested too deeply)",
    ),
    Case("not UTF-8", content(b'{"a": "\xff"}'), INIT, f"{CONFIG}: not valid JSON (…"),
    Case("cut off", partial(cut, CONFIG, 100), INIT, f"{CONFIG}: not valid JSON (…"),
    Case("named pipe", partial(fifo, CONFIG), INIT, f"{CONFIG}: a named pipe, not a file"),
    Case(
        "link to itself",
        partial(link, CONFIG, "config.json"),
        INIT,
        "encoder: not the directory of a model (it has no config.json)",
    ),
    Case(
        "directory",
        partial(put, "other/config.json/a", ""),
        "init other out",
        "other/config.json: a directory, not a file",
    ),
    Case(
        "link of the directory to itself",
        partial(link, "encoder", "encoder"),
        "init ./encoder out",
        "./encoder: there is no such directory",
    ),
    Case(
        "no type",
        config(model_type=REMOVED, architectures=REMOVED),
        INIT,
        f"{CONFIG}: has no model_type",
    ),
    Case("unknown type", config(model_type="warp"), INIT, f"{CONFIG}: can't be used: …"),
    Case("list of types", config(model_type=["bert"]), INIT, f"{CONFIG}: can't be used: …"),
    Case(
        "number as architectures",
        config(model_type=REMOVED, architectures=3),
        INIT,
        f"{CONFIG}: can't be used: …",
    ),
    Case(
        "code from elsewhere",
        config(model_type="warp", auto_map={"AutoConfig": "a.B"}),
        INIT,
        f"{CONFIG}: can't be used: …",
    ),
    Case(
        "encoder-decoder",
        config(is_encoder_decoder=True),
        INIT,
        "encoder: bert is an encoder-decoder",
    ),
    Case("0 heads", config(num_attention_heads=0), INIT, f"{LOAD}: …"),
    Case(
        "null heads",
        config(num_attention_heads=None),
        INIT,
        f"{CONFIG}: can't be used: …",
    ),
    Case("5 heads", config(num_attention_heads=5), INIT, f"{LOAD}: …"),
    Case(
        "-4 heads", config(num_attention_heads=-4), INIT, "bert: can't run on wordpieces alone: …"
    ),
    Case(
        "text as heads",
        config(num_attention_heads="many"),
        INSPECT,
        f"{CONFIG}: can't be used: …",
    ),
    Case(
        "10 million layers",
        config(num_hidden_layers=10**7),
        INIT,
        f"{CONFIG}: num_hidden_layers must be from 0 to 2,000",
    ),
    Case(
        "10 million layers of an unlisted type",
        config(model_type="roberta", num_hidden_layers=10**7),
        INSPECT,
        f"{CONFIG}: num_hidden_layers must be from 0 to 2,000",
    ),
    Case(
        "10 million experts",
        config(parts=[{"num_experts": 10**7}]),
        INIT,
        f"{CONFIG}: num_experts must be from 0 to 2,000",
    ),
    Case(
        "-1 layers",
        config(num_hidden_layers=-1),
        INIT,
        f"{CONFIG}: num_hidden_layers must be from 0 to 2,000",
    ),
    Case(
        "layers of 400 digits",
        config(num_hidden_layers=10**400),
        INIT,
        f"{CONFIG}: num_hidden_layers must be from 0 to 2,000",
    ),
    Case(
        "width of 400 digits",
        config(hidden_size=10**400),
        INIT,
        f"{LOAD}: …",
    ),
    Case(
        "vocabulary of 400 digits",
        config(vocab_size=10**400),
        INIT,
        f"{LOAD}: …",
    ),
    Case(
        "positions of 400 digits",
        config(max_position_embeddings=10**400),
        INIT,
        f"{LOAD}: …",
    ),
    Case(
        "width of a trillion",
        config(hidden_size=10**12),
        INIT,
        f"{LOAD}: …",
    ),
    Case(
        "vocabulary of a trillion",
        config(vocab_size=10**12),
        INIT,
        f"{LOAD}: not enough memory",
    ),
    Case("width 0", config(hidden_size=0), INIT, f"{LOAD}: …"),
    Case("null width", config(hidden_size=None), INIT, f"{CONFIG}: can't be used: …"),
    Case("vocabulary of 0", config(vocab_size=0), INIT, f"{LOAD}: …"),
    Case(
        "smaller vocabulary than the weights",
        config(vocab_size=50),
        INIT,
        "encoder: embeddings.word_embeddings.weight has the shape …",
    ),
    Case(
        "null positions",
        config(max_position_embeddings=None),
        INSPECT,
        f"{CONFIG}: can't be used: …",
    ),
    Case("pad id 10^6", config(pad_token_id=10**6), INIT, f"{LOAD}: …"),
    Case("pad id -5000", config(pad_token_id=-5000), INIT, f"{LOAD}: …"),
    Case(
        "text as pad id",
        config(pad_token_id="[PAD]"),
        INIT,
        f"{CONFIG}: can't be used: …",
    ),
    Case("unknown dtype", config(dtype="float99"), INIT, f"{CONFIG}: can't be used: …"),
    Case(
        "unknown torch_dtype",
        config(dtype=REMOVED, torch_dtype="warp"),
        INSPECT,
        f"{CONFIG}: can't be used: …",
    ),
    Case("unknown activation", config(hidden_act="warp"), INIT, f"{LOAD}: …"),
    Case("dropout 7", config(hidden_dropout_prob=7), INIT, f"{LOAD}: …"),
    Case(
        "NaN as epsilon",
        config(layer_norm_eps=math.nan),
        INIT,
        f"{CONFIG}: layer_norm_eps is NaN or infinite",
    ),
    Case(
        "NaN as transformers stores it",
        config(layer_norm_eps={"__float__": "NaN"}),
        INSPECT,
        f"{CONFIG}: layer_norm_eps is NaN or infinite",
    ),
    Case(
        "infinite initializer range of a part",
        config(parts=[{"initializer_range": -math.inf}]),
        INIT,
        f"{CONFIG}: initializer_range is NaN or infinite",
    ),
    Case(
        "kernel from the hub",
        config(attn_implementation=KERNEL),
        INIT,
        f"{CONFIG}: attn_implementation {FROM_HUB}",
    ),
    Case(
        "kernel under its other name",
        config(_attn_implementation=KERNEL),
        INSPECT,
        f"{CONFIG}: _attn_implementation {FROM_HUB}",
    ),
    Case(
        "kernel of a part",
        config(text_config={"attn_implementation": KERNEL}),
        INIT,
        f"{CONFIG}: attn_implementation {FROM_HUB}",
    ),
    Case(
        "kernel of the experts",
        config(experts_implementation=KERNEL),
        INIT,
        f"{CONFIG}: experts_implementation {FROM_HUB}",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_config_that_cannot_be_used_is_one_line(case: Case, check_case: CheckCase) -> None:
    check_case(case)
