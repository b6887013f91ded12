"""The tokenizer of the underlying language of a `trf` pipeline."""

from collections.abc import Callable
from typing import cast

from spacy import util
from spacy.language import Language
from spacy.tokens import Doc
from spacy.util import registry

TOKENIZER = "trfcli.LanguageTokenizer.v1"


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
