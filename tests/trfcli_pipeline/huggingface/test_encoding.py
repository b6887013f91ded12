import time
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest
from tokenizers import Regex, pre_tokenizers

from trfcli_pipeline.errors import EncoderError
from trfcli_pipeline.huggingface import encoding, pretrained
from trfcli_pipeline.huggingface.encoding import encode_batch


def with_regex(path: Path, pattern: str) -> Any:
    tokenizer = pretrained.load_tokenizer(path)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), "isolated")
    return tokenizer


def test_wordpieces_are_those_of_the_library(tiny_bert: Path) -> None:
    tokenizer = pretrained.load_tokenizer(tiny_bert)
    for special in (True, False):
        found = encode_batch(tokenizer, ["I love", ""], add_special_tokens=special)
        expected = tokenizer.backend_tokenizer.encode_batch(
            ["I love", ""], add_special_tokens=special
        )
        assert [each.ids for each in found] == [each.ids for each in expected]


@pytest.mark.parametrize("pattern", [r"(t+)+$", r"(t|tt)+$", r"(t+t+)+x"])
def test_regex_that_backtracks_too_much_is_an_error(tiny_bert: Path, pattern: str) -> None:
    tokenizer = with_regex(tiny_bert, pattern)
    with pytest.raises(EncoderError, match=r"The tokenizer failed: .*retry-limit-in-match"):
        encode_batch(tokenizer, ["t" * 90 + "!"])
    assert encode_batch(tokenizer, ["fun"])


@pytest.mark.parametrize("length", [0, 1000])
def test_tokenizer_that_does_not_end_is_left_behind(
    monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    monkeypatch.setattr(encoding, "_SECONDS", 0.1)
    monkeypatch.setattr(encoding, "_CHARACTERS_PER_SECOND", 10_000)
    ended = Event()

    def wait(texts: list[str], **_: Any) -> list[Any]:
        ended.wait()
        return []

    tokenizer: Any = SimpleNamespace(backend_tokenizer=SimpleNamespace(encode_batch=wait))
    start = time.perf_counter()
    with pytest.raises(EncoderError, match="The tokenizer didn't finish within 0 seconds"):
        encode_batch(tokenizer, ["a" * length])
    # Long texts have more time.
    assert time.perf_counter() - start >= 0.1 + length / 10_000
    ended.set()


def test_interrupt_is_not_an_error_of_the_tokenizer() -> None:
    def interrupt(texts: list[str], **_: Any) -> list[Any]:
        raise KeyboardInterrupt

    tokenizer: Any = SimpleNamespace(backend_tokenizer=SimpleNamespace(encode_batch=interrupt))
    with pytest.raises(KeyboardInterrupt):
        encode_batch(tokenizer, [])
