"""Find wordpieces with the tokenizers library, within a time limit."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING, Any

from trfcli_pipeline.errors import EncoderError, one_line

if TYPE_CHECKING:
    from trfcli_pipeline.huggingface.types import FastEncoding, PreTrainedTokenizerBase

# Far more than any tokenizer needs: they read about a million characters per second.
_SECONDS, _CHARACTERS_PER_SECOND = 60.0, 20_000
_TOKENIZER_HINT = "Use the tokenizer.json of another model, or leave out the text"


def encode_batch(
    tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str], *, add_special_tokens: bool = True
) -> "list[FastEncoding]":
    """Find the wordpieces of texts with a fast tokenizer, within a time limit.

    The regular expressions of a tokenizer may take any time for a text. Rust code can't be
    interrupted, so it runs in a thread of its own, which we leave behind if it takes too long.

    Args:
        tokenizer: A fast tokenizer.
        texts: The texts.
        add_special_tokens: Whether to add special tokens to each text.

    Raises:
        EncoderError: The tokenizer failed, or took too long.
    """
    encode = partial(
        tokenizer.backend_tokenizer.encode_batch, texts, add_special_tokens=add_special_tokens
    )
    encodings: Future[list[FastEncoding]] = Future()
    Thread(target=_run, args=(encode, encodings), daemon=True).start()
    seconds = _SECONDS + sum(map(len, texts)) / _CHARACTERS_PER_SECOND
    try:
        return encodings.result(timeout=seconds)
    except TimeoutError as error:
        raise EncoderError(
            f"The tokenizer didn't finish within {seconds:.0f} seconds", hint=_TOKENIZER_HINT
        ) from error
    # When Rust code panics, the exception isn't an Exception.
    except BaseException as error:
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            raise EncoderError(
                f"The tokenizer failed: {one_line(error)}", hint=_TOKENIZER_HINT
            ) from error
        raise


def _run(function: Callable[[], Any], result: Future[Any]) -> None:
    try:
        result.set_result(function())
    except BaseException as error:
        result.set_exception(error)
