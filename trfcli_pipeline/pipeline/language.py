"""TransformersLanguage: `lang = "trf"`, with the tokenizer and data of an underlying language."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, cast

from spacy import util
from spacy.errors import Errors
from spacy.language import BaseDefaults, Language
from spacy.pipeline import Sentencizer, TrainablePipe
from spacy.schemas import ConfigSchema
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import CONFIG_SECTION_ORDER, registry
from spacy.vocab import Vocab, create_vocab
from thinc.api import Config, Optimizer

from trfcli_pipeline.data.surrogates import without_surrogates
from trfcli_pipeline.encoder.devices import installed_version
from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.pipeline.optimizer import default_optimizer
from trfcli_pipeline.pipeline.textcat import TransformersTextCategorizer
from trfcli_pipeline.pipeline.tok2vec import TransformersTok2Vec
from trfcli_pipeline.pipeline.wordpiecer import TransformersWordPiecer
from trfcli_pipeline.tokenization.extensions import install_extensions

_DEFAULT_LANG = "en"
_TOKENIZER = "trfcli.LanguageTokenizer.v1"
_OWN_COMPONENTS = (TransformersWordPiecer, TransformersTok2Vec)

# This package, as pip knows it.
DISTRIBUTION = "trfcli"


class LanguageTokenizer:
    """Makes the tokenizer of the underlying language, as `spacy.blank(lang)` would.

    It names the language too: a pipeline that is built from a config alone, without a meta,
    knows its language from here.
    """

    def __init__(self, lang: str | None) -> None:
        self.lang = lang

    def __call__(self, nlp: Language) -> Callable[[str], Doc]:
        config = util.get_lang_class(nlp.meta["lang"]).default_config["nlp"]["tokenizer"]
        make = registry.resolve({"tokenizer": config})["tokenizer"]
        return cast(Callable[[str], Doc], make(nlp))


@registry.tokenizers(_TOKENIZER)
def make_language_tokenizer(lang: str | None = None) -> LanguageTokenizer:
    """The tokenizer of a language; of the pipeline's `meta["lang"]` if None."""
    return LanguageTokenizer(lang)


class TransformersDefaults(BaseDefaults):
    config = Config({"nlp": {"tokenizer": {"@tokenizers": _TOKENIZER, "lang": None}}})


class TransformersLanguage(Language):
    """A pipeline whose components share one transformer.

    `nlp.lang` is "trf"; `nlp.vocab.lang` and `nlp.meta["lang"]` are the underlying language,
    which decides tokenizer, stop words, lexical attributes and syntax iterators.

    Beside what every `Language` can do, components built by hand can be added, and `update`
    takes texts with annotations as spaCy 2 did.

    Args:
        vocab: The vocab, or True to make that of the underlying language.
        trf_name: The encoder of components that name none.
        meta: `meta["lang"]` is the underlying language, "en" if not given.
        **kwargs: As of `Language`.
    """

    lang: str | None = "trf"
    Defaults: type[BaseDefaults] = TransformersDefaults

    def __init__(
        self,
        vocab: Vocab | bool = True,
        *,
        trf_name: str = "",
        meta: dict[str, Any] | None = None,
        create_tokenizer: Callable[[Language], Callable[[str], Doc]] | None = None,
        **kwargs: Any,
    ) -> None:
        meta = dict(meta or {})
        self.trf_name = trf_name or meta.get("trf_name", "")
        lang = getattr(create_tokenizer, "lang", None) or meta.get("lang")
        if lang in (None, "", self.lang):
            lang = vocab.lang if isinstance(vocab, Vocab) and vocab.lang else _DEFAULT_LANG
        meta["lang"] = lang
        # On the instance, in place of the class's: what the underlying language prescribes.
        self.Defaults = util.get_lang_class(lang).Defaults
        if vocab is True:
            vocab = create_vocab(
                lang, self.Defaults, vectors_name=meta.get("vectors", {}).get("name")
            )
        # spaCy insists that a pipeline's language is its vocab's, which is the underlying one.
        self.lang = lang
        super().__init__(vocab, meta=meta, create_tokenizer=create_tokenizer, **kwargs)
        del self.lang
        if create_tokenizer is None:
            # Not built from a config: complete it as `from_config` does.
            self._config = _default_config(type(self))

    @staticmethod
    def install_extensions() -> None:
        """Register the `._.trf_*` attributes. Importing the package does it."""
        install_extensions()

    @property
    def meta(self) -> dict[str, Any]:
        """The meta data. Lists this package among the requirements, once."""
        meta = super().meta
        requirements = meta.setdefault("requirements", [])
        if not any(util.split_requirement(each)[0] == DISTRIBUTION for each in requirements):
            spec = util.get_minor_version_range(installed_version(DISTRIBUTION) or "0")
            requirements.append(f"{DISTRIBUTION}{spec}")
        return meta

    @meta.setter
    def meta(self, value: dict[str, Any]) -> None:
        self._meta = value

    @property
    def config(self) -> Config:
        """The config, with the underlying language in it."""
        config = super().config
        tokenizer = config["nlp"]["tokenizer"]
        if tokenizer.get("@tokenizers") == _TOKENIZER:
            tokenizer["lang"] = self.meta["lang"]
        return config

    @config.setter
    def config(self, value: Config) -> None:
        self._config = value

    def add_pipe(
        self, factory_name: str | Callable[[Doc], Doc], name: str | None = None, **kwargs: Any
    ) -> Callable[[Doc], Doc]:
        """Add a component, by its factory's name or one that was built by hand.

        Built by hand means: with `create_pipe`, or with `from_pretrained` and its like.

        Raises:
            ValueError: It isn't known which factory could build the component anew.
        """
        if isinstance(factory_name, str):
            return super().add_pipe(factory_name, name, **kwargs)
        component = factory_name
        factory, config = self._recipe(component)
        name = name or str(getattr(component, "name", factory))
        # Through the factory first, so that config and meta become what they always are.
        super().add_pipe(factory, name, config=config, **kwargs)
        self._components[self.component_names.index(name)] = (name, component)
        if isinstance(component, TransformersWordPiecer):
            component.attach(self)
        self._link_components()
        return component

    def make_doc(self, text: str) -> Doc:
        """Turn a text into a Doc. Lone surrogates, which spaCy can't hold, become U+FFFD."""
        return super().make_doc(without_surrogates(text))

    def update(
        self,
        examples: Iterable[Example | Doc | str],
        annotations: Iterable[dict[str, Any]] | None = None,
        *,
        drop: float = 0.0,
        sgd: Optimizer | Literal[False] | None = None,
        losses: dict[str, float] | None = None,
        component_cfg: dict[str, dict[str, Any]] | None = None,
        exclude: Iterable[str] = (),
        annotates: Iterable[str] = (),
    ) -> dict[str, float]:
        """Update the components, with one backward pass and one step of the encoder.

        Args:
            examples: Examples; or texts or Docs, with `annotations` for each.
            annotations: A dict for each text, such as `{"cats": {"POSITIVE": 1.0}}`.
            sgd: The optimizer; None for the pipeline's own, False to gather gradients and leave
                the step for later.

        The other arguments are those of `Language.update`. What the heads need is set on the Docs
        whatever is excluded, without being named in `annotates`: wordpieces, and the output of an
        encoder that stays as it is.
        """
        examples = self._make_examples(examples, annotations)
        if sgd is None:
            self._optimizer = sgd = self._optimizer or self.create_optimizer()
        # Wordpiecers don't learn: their update gives the Docs sentences and wordpieces.
        exclude = set(exclude) - self._names_of(TransformersWordPiecer)
        losses = super().update(
            examples,
            drop=drop,
            sgd=cast(Any, False),
            losses=losses,
            component_cfg=component_cfg,
            exclude=exclude,
            annotates={*annotates, *(exclude & self._names_of(TransformersTok2Vec))},
        )
        if sgd:
            # After all of them: the encoder's gradients are complete only now.
            for name, pipe in self.pipeline:
                if name not in exclude and getattr(pipe, "is_trainable", False):
                    cast(TrainablePipe, pipe).finish_update(sgd)
        return losses

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]] | None = None,
        *,
        sgd: Optimizer | None = None,
    ) -> Optimizer:
        """Initialise the components for training; see `Language.initialize`.

        Tokenizer and encoder are loaded even if they are disabled, as spaCy has it with frozen
        components: the others need to know them.
        """
        for _, pipe in self.components:
            if isinstance(pipe, _OWN_COMPONENTS) and pipe.trf_name:
                pipe.initialize(get_examples or list, nlp=self)
        return super().initialize(get_examples, sgd=sgd)

    def resume_training(self, *, sgd: Optimizer | None = None) -> Optimizer:
        """Continue training: the encoder as it is, heads that have no weights yet initialised."""
        for _, pipe in self.pipeline:
            if isinstance(pipe, TransformersTextCategorizer) and not pipe.is_initialized:
                pipe.initialize(None, nlp=self)
        return super().resume_training(sgd=sgd)

    def replace_listeners(
        self, tok2vec_name: str, pipe_name: str, listeners: Iterable[str]
    ) -> None:
        """Give a component a `tok2vec` of its own; see `Language.replace_listeners`.

        Raises:
            PipelineError: It listens to trf_tok2vec.
        """
        listeners = list(listeners)
        if listeners and tok2vec_name in self._names_of(TransformersTok2Vec):
            raise PipelineError(
                f"{pipe_name}: can't have a copy of {tok2vec_name} for itself",
                hint="To keep what it reads as it is, name both in frozen_components",
            )
        super().replace_listeners(tok2vec_name, pipe_name, listeners)

    def create_optimizer(self) -> Optimizer:
        """The optimizer of the config; one with rates for encoder and head if it is spaCy's."""
        # spaCy would leave variables such as ${training.max_steps} as they are.
        configured = self.config.interpolate()["training"]["optimizer"]
        if configured == Language.default_config["training"]["optimizer"]:
            return default_optimizer()
        return cast(Optimizer, registry.resolve({"optimizer": configured})["optimizer"])

    def to_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> None:
        self._order_punctuation()
        super().to_disk(path, exclude=exclude)

    def to_bytes(self, *, exclude: Iterable[str] = ()) -> bytes:
        self._order_punctuation()
        return super().to_bytes(exclude=exclude)

    def _order_punctuation(self) -> None:
        """Have spaCy's sentencizer write the same bytes in each process."""
        for _, pipe in self.components:
            if isinstance(pipe, Sentencizer):
                pipe.punct_chars = _OrderedSet(pipe.punct_chars)

    def _names_of(self, kind: type) -> set[str]:
        return {name for name, pipe in self.pipeline if isinstance(pipe, kind)}

    def _recipe(self, component: Any) -> tuple[str, dict[str, Any]]:
        """The factory and the config that would build the component anew."""
        if isinstance(component, _OWN_COMPONENTS):
            return component.factory, component.cfg
        name = getattr(component, "name", getattr(component, "__name__", None))
        if name not in self._pipe_configs:
            raise ValueError(Errors.E966.format(component=repr(component), name=name))
        config = dict(self._pipe_configs[name])
        return config.pop("factory"), config

    def _make_examples(
        self,
        examples: Iterable[Example | Doc | str],
        annotations: Iterable[dict[str, Any]] | None,
    ) -> list[Example]:
        if annotations is None:
            return cast(list[Example], list(examples))
        return [
            Example.from_dict(self._ensure_doc(cast(str | Doc, text)), dict(annotation))
            for text, annotation in zip(examples, annotations, strict=True)
        ]


class _OrderedSet(set[str]):
    """A set in one order, where others have an order of each process's own."""

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(super().__iter__()))


def _default_config(language: type[Language]) -> Config:
    """The complete config of a pipeline without components."""
    config = Config(language.default_config, section_order=CONFIG_SECTION_ORDER)
    # As spaCy does: schemas describe components and pretraining only where there are any.
    pretraining = config.pop("pretraining", {})
    config["components"] = config.pop("components", {})
    filled = Config(registry.fill(config, schema=ConfigSchema), section_order=CONFIG_SECTION_ORDER)
    filled["pretraining"] = pretraining
    return filled
