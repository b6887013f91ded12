"""Encodes texts as wordpieces with offsets, by fast (Rust) and slow (Python) tokenizers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, count
from typing import TYPE_CHECKING, Self, TypeAlias, cast

from trfcli_pipeline.huggingface import pretrained
from trfcli_pipeline.huggingface.encoding import encode_batch
from trfcli_pipeline.tokenization.offsets import Span, find_offsets, surfaces

if TYPE_CHECKING:
    from trfcli_pipeline.huggingface.types import FastEncoding, PreTrainedTokenizerBase

# A text, or a pair of texts that the encoder sees as one input.
Text = str | tuple[str, str]

# The attributes with one value per wordpiece.
_LISTS = ("ids", "type_ids", "offsets", "sequence_ids")
# Of tokenizers' own class, we use only the attributes of `Pieces`.
Encoding: TypeAlias = "FastEncoding | Pieces"


@dataclass(frozen=True, slots=True)
class Pieces:
    """The wordpieces of a text that we put together ourselves.

    Attributes:
        ids: Id of each wordpiece.
        type_ids: Token type id of each wordpiece.
        offsets: Start and end character of each wordpiece, in its own text of a pair.
        sequence_ids: The text of a pair that each wordpiece comes from, 0 or 1; None for special
            tokens.
        overflowing: What was truncated, in parts.
    """

    ids: list[int]
    type_ids: list[int]
    offsets: list[Span]
    sequence_ids: list[int | None]
    overflowing: Sequence[Encoding] = ()

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def select(cls, encoding: Encoding, indices: Sequence[int]) -> Self:
        """Select wordpieces of an encoding, in the order of the indices."""
        # Each access to a fast encoding's list copies it.
        lists = {name: getattr(encoding, name) for name in _LISTS}
        return cls(**{name: [values[i] for i in indices] for name, values in lists.items()})

    @classmethod
    def join(cls, parts: Sequence[Encoding]) -> Self:
        """Concatenate the wordpieces of several encodings."""
        return cls(
            **{name: [each for part in parts for each in getattr(part, name)] for name in _LISTS}
        )


def find_mistakable(tokenizer: "PreTrainedTokenizerBase") -> frozenset[int]:
    """Find the special tokens that the tokenizer recognizes in texts although it shouldn't.

    Unigram models have them in their vocabulary, and some slow tokenizers never split them.

    Returns:
        Their ids.
    """
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    return frozenset(
        id_
        for encoding in _encode(tokenizer, tokenizer.all_special_tokens, None)
        for id_, sequence in zip(encoding.ids, encoding.sequence_ids, strict=True)
        if sequence is not None and id_ in special
    )


def encode(
    tokenizer: "PreTrainedTokenizerBase",
    texts: Sequence[Text],
    limit: int | None,
    mistakable: frozenset[int] = frozenset(),
) -> list[Encoding]:
    """Find the wordpieces of texts, special tokens included.

    Text that looks like a special token is treated as text.

    Args:
        tokenizer: Prepared for `limit` by `pretrained.encode_whole`.
        texts: Texts or pairs of texts.
        limit: Maximum number of wordpieces per text; None for no limit. The longer text of a pair
            is truncated first.
        mistakable: What `find_mistakable` returned.

    Returns:
        One encoding per text.
    """
    encodings = _encode(tokenizer, texts, limit)
    if not mistakable:
        return encodings
    return [
        _encode_again(tokenizer, text, limit, encoding, mistakable)
        for text, encoding in zip(texts, encodings, strict=True)
    ]


def _encode_again(
    tokenizer: "PreTrainedTokenizerBase",
    text: Text,
    limit: int | None,
    encoding: Encoding,
    mistakable: frozenset[int],
) -> Encoding:
    """Encode a text again until none of it is mistaken for a special token."""
    while mistaken := _mistaken(encoding, mistakable):
        disguised = _disguise(text, mistaken)
        if disguised == text:
            break
        text = disguised
        (encoding,) = _encode(tokenizer, [text], limit)
    return encoding


def _mistaken(encoding: Encoding, mistakable: frozenset[int]) -> list[tuple[int, int]]:
    """Return text index and first character of each piece mistaken for a special token."""
    if mistakable.isdisjoint(encoding.ids):
        return []
    rows = zip(encoding.ids, encoding.sequence_ids, encoding.offsets, strict=True)
    return [
        (sequence, start)
        for id_, sequence, (start, end) in rows
        if id_ in mistakable and sequence is not None and start < end
    ]


def _disguise(text: Text, places: Sequence[tuple[int, int]]) -> Text:
    """Replace the characters at some places by one that no special token contains."""
    parts = [list(part) for part in ((text,) if isinstance(text, str) else text)]
    for sequence, start in places:
        parts[sequence][start] = "\ufffd"
    first, *second = ("".join(part) for part in parts)
    return (first, second[0]) if second else first


def _encode(
    tokenizer: "PreTrainedTokenizerBase", texts: Sequence[Text], limit: int | None
) -> list[Encoding]:
    if not tokenizer.is_fast:
        return [_encode_in_python(tokenizer, text, limit) for text in texts]
    alone = [text for text in texts if isinstance(text, str)]
    singles = iter(encode_batch(tokenizer, alone))
    return [
        next(singles) if isinstance(text, str) else _encode_pair(tokenizer, text) for text in texts
    ]


def _encode_pair(tokenizer: "PreTrainedTokenizerBase", texts: tuple[str, str]) -> Encoding:
    # We encode the texts separately first, because encode_batch would combine the overflowing
    # parts of one text with all those of the other.
    parts = encode_batch(tokenizer, texts, add_special_tokens=False)
    return tokenizer.backend_tokenizer.post_process(*parts)


def _encode_in_python(
    tokenizer: "PreTrainedTokenizerBase", text: Text, limit: int | None
) -> Encoding:
    parts = [
        _pieces_of(tokenizer, each, sequence)
        for sequence, each in enumerate((text,) if isinstance(text, str) else text)
    ]
    lengths = [len(part) for part in parts]
    excess = sum(lengths) + tokenizer.num_special_tokens_to_add(pair=len(parts) > 1)
    excess -= excess if limit is None else limit
    rest: list[Encoding] = []
    if excess > 0:
        with pretrained.quiet():
            kept = tokenizer.truncate_sequences(
                *(part.ids for part in parts), num_tokens_to_remove=excess
            )[: len(parts)]
        for index, (part, own) in enumerate(zip(parts, kept, strict=True)):
            parts[index] = Pieces.select(part, range(len(own)))
            rest.append(Pieces.select(part, range(len(own), len(part))))
    return _with_special_tokens(tokenizer, parts, rest)


def _pieces_of(tokenizer: "PreTrainedTokenizerBase", text: str, sequence: int) -> Pieces:
    """Return the wordpieces of a text without special tokens."""
    tokens = tokenizer.tokenize(text, split_special_tokens=True)
    ids = cast(list[int], tokenizer.convert_tokens_to_ids(tokens))
    return Pieces(
        ids=ids,
        type_ids=[0] * len(ids),
        offsets=find_offsets(text, surfaces(tokenizer, tokens, ids)),
        sequence_ids=[sequence] * len(ids),
    )


def _with_special_tokens(
    tokenizer: "PreTrainedTokenizerBase", parts: Sequence[Pieces], rest: Sequence[Encoding]
) -> Pieces:
    # Negative ids stand for the wordpieces of the texts, to tell them from special tokens.
    stand_ins = [[-1 - sequence] * len(part) for sequence, part in enumerate(parts)]
    layout = tokenizer.build_inputs_with_special_tokens(*stand_ins)
    added = [id_ for id_ in layout if id_ >= 0]
    special = Pieces(
        ids=added,
        type_ids=[0] * len(added),
        offsets=[(0, 0)] * len(added),
        sequence_ids=[None] * len(added),
    )
    # The position of the next special token, and of the next wordpiece of each text.
    starts = accumulate([len(special), *map(len, parts[:-1])])
    columns = [count(start) for start in (0, *starts)]
    order = [next(columns[0 if id_ >= 0 else -id_]) for id_ in layout]
    return replace(
        Pieces.select(Pieces.join([special, *parts]), order),
        type_ids=tokenizer.create_token_type_ids_from_sequences(*stand_ins),
        overflowing=rest,
    )
