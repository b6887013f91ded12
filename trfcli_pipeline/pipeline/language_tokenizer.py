"""The tokenizer of the underlying language of a `trf` pipeline."""

from collections.abc import Callable
from typing import cast

from spacy import util
from spacy.language import Language
from spacy.tokens import Doc
from spacy.util import registry
from spacy.vocab import Vocab

TOKENIZER = "trfcli.LanguageTokenizer.v1"
_DEFAULT_LANG = "en"
# Where spaCy's languages are.
_LANGUAGES = "spacy.lang."


@registry.tokenizers(TOKENIZER)
class LanguageTokenizer:
    """Creates the tokenizer that `spacy.blank(lang)` would have.

    The language is stored here as well as in the meta, so that a pipeline that is created from a
    config alone knows it.

    Args:
        lang: Code of the language, such as "en"; null for the pipeline's `meta["lang"]`.
    """

    def __init__(self, lang: str | None = None) -> None:
        self.lang = lang

    def __call__(self, nlp: Language) -> Callable[[str], Doc]:
        config = util.get_lang_class(nlp.meta["lang"]).default_config["nlp"]["tokenizer"]
        create = registry.resolve({"tokenizer": config})["tokenizer"]
        return cast(Callable[[str], Doc], create(nlp))


def underlying_language(
    create_tokenizer: object, lang: str | None, vocab: Vocab | bool | None
) -> str:
    """Determine the underlying language of a `trf` pipeline.

    Args:
        create_tokenizer: Creates its tokenizer: one with a language, or spaCy's of a language.
        lang: The language that its meta says, if any.
        vocab: Its vocab, if there is one already.
    """
    lang = getattr(create_tokenizer, "lang", None) or lang
    if lang not in (None, "", "trf"):
        return lang
    if isinstance(vocab, Vocab) and vocab.lang:
        return vocab.lang
    module = getattr(create_tokenizer, "__module__", "")
    return module.removeprefix(_LANGUAGES) if module.startswith(_LANGUAGES) else _DEFAULT_LANG
