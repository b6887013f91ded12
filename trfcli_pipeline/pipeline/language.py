"""TransformersLanguage: `lang = "trf"` on top of an underlying language."""

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any, Literal, cast

from spacy import util
from spacy.errors import Errors
from spacy.language import BaseDefaults, Language
from spacy.pipeline import TrainablePipe
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import registry
from spacy.vocab import Vocab, create_vocab
from thinc.api import Config, Optimizer

from trfcli_pipeline.data.outputs import manifest
from trfcli_pipeline.data.surrogates import without_surrogates
from trfcli_pipeline.encoder.devices import installed_version
from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.heads.doc_tensor import refresh_doc_tensor
from trfcli_pipeline.pipeline.compatibility import check_components
from trfcli_pipeline.pipeline.language_tokenizer import TOKENIZER, underlying_language
from trfcli_pipeline.pipeline.optimizer import TransformersOptimizer
from trfcli_pipeline.pipeline.processes import spawn_if_needed
from trfcli_pipeline.pipeline.saved_language import SavedLanguage
from trfcli_pipeline.pipeline.textcat import TransformersTextCategorizer
from trfcli_pipeline.pipeline.tok2vec import TransformersTok2Vec
from trfcli_pipeline.pipeline.wordpiecer import TransformersWordPiecer
from trfcli_pipeline.tokenization.extensions import install_extensions

_OWN_COMPONENTS = (TransformersWordPiecer, TransformersTok2Vec)

# Name of this package on PyPI.
DISTRIBUTION = "trfcli"


class TransformersDefaults(BaseDefaults):
    """Defaults of `trf`; those of the underlying language replace them in each pipeline."""

    config = Config({"nlp": {"tokenizer": {"@tokenizers": TOKENIZER, "lang": None}}})


class TransformersLanguage(SavedLanguage):
    """A pipeline whose components share one transformer.

    `nlp.lang` is "trf"; `nlp.vocab.lang` and `nlp.meta["lang"]` are the underlying language, which
    determines tokenizer, stop words, lexical attributes and syntax iterators.

    In addition to what every `Language` does, `add_pipe` accepts components, and `update` accepts
    texts with annotations, as in spaCy 2.

    Args:
        vocab: The vocab; True to create that of the underlying language.
        trf_name: The encoder of components whose settings don't name one.
        meta: The meta data; `meta["lang"]` is the underlying language, "en" by default.
        create_tokenizer: Creates the tokenizer for a pipeline.
        **kwargs: See `spacy.language.Language`.
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
        lang = meta["lang"] = underlying_language(create_tokenizer, meta.get("lang"), vocab)
        # On the instance, the defaults of the underlying language replace those of the class.
        self.Defaults = util.get_lang_class(lang).Defaults
        if vocab is True:
            vocab = create_vocab(
                lang, self.Defaults, vectors_name=meta.get("vectors", {}).get("name")
            )
        # spaCy requires the language of a pipeline to be that of its vocab.
        self.lang = lang
        super().__init__(vocab, meta=meta, create_tokenizer=create_tokenizer, **kwargs)
        del self.lang
        if create_tokenizer is None:
            # A pipeline that isn't created from a config still needs a complete one.
            self._config = _complete_config(cast(Any, type(self))).copy()

    @staticmethod
    def install_extensions() -> None:
        """Register the `._.trf_*` attributes. Importing the package does this."""
        install_extensions()

    @property
    def meta(self) -> dict[str, Any]:
        """The meta data, with this package among the requirements."""
        meta = manifest.without_manifest(super().meta)
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
        """The config, which includes the underlying language."""
        config = super().config
        tokenizer = config["nlp"]["tokenizer"]
        if tokenizer.get("@tokenizers") == TOKENIZER:
            tokenizer["lang"] = self.meta["lang"]
        return config

    @config.setter
    def config(self, value: Config) -> None:
        self._config = value

    def add_pipe(
        self, factory_name: str | Callable[[Doc], Doc], name: str | None = None, **kwargs: Any
    ) -> Callable[[Doc], Doc]:
        """Add a component to the pipeline.

        Args:
            factory_name: Name of the component's factory; or a component, created by `create_pipe`,
                `from_nlp` or `from_pretrained`.
            name: Name of the component in the pipeline; that of the component or of the factory if
                None.
            **kwargs: See `spacy.language.Language.add_pipe`.

        Returns:
            The component.

        Raises:
            ValueError: The factory of the component is unknown.
        """
        if isinstance(factory_name, str):
            return super().add_pipe(factory_name, name, **kwargs)
        component = factory_name
        factory, config = self._recipe(component)
        name = name or str(getattr(component, "name", factory))
        # We add one by its factory first, so that config and meta are set as usual.
        super().add_pipe(factory, name, config=config, **kwargs)
        self._components[self.component_names.index(name)] = (name, component)
        if isinstance(component, TransformersWordPiecer):
            component.attach(self)
        self._link_components()
        return component

    def __call__(self, text: str | Doc, **kwargs: Any) -> Doc:
        """Process a text; see `Language.__call__`."""
        return refresh_doc_tensor(super().__call__(text, **kwargs))

    def pipe(self, texts: Iterable[Any], **kwargs: Any) -> Iterator[Any]:
        """Process a stream of texts; see `Language.pipe`."""
        for each in super().pipe(texts, **kwargs):
            yield refresh_doc_tensor(each) if isinstance(each, Doc) else each

    def make_doc(self, text: str) -> Doc:
        """Turn a text into a Doc. Lone surrogates, which spaCy can't store, become U+FFFD."""
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

        The Docs get sentences and wordpieces even if `exclude` contains trf_wordpiecer, and the
        encoder's output even if `exclude` contains trf_tok2vec.

        Args:
            examples: Examples; or texts or Docs, with `annotations`.
            annotations: A dict for each text or Doc, such as `{"cats": {"POSITIVE": 1.0}}`.
            drop: Dropout rate.
            sgd: The optimizer; None for the pipeline's own, False to accumulate gradients and take
                the step later.
            losses: Where to add the losses, by component name.
            component_cfg: Further arguments for the `update` of components, by name.
            exclude: Names of components that aren't updated.
            annotates: Names of components whose annotations are set on the Docs.

        Returns:
            The losses.
        """
        examples = self._make_examples(examples, annotations)
        if sgd is None:
            self._optimizer = sgd = self._optimizer or self.create_optimizer()
        # The update of a wordpiecer trains nothing: it sets sentences and wordpieces on the Docs.
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
            # Only now are the encoder's gradients complete.
            for name, pipe in self.pipeline:
                if name not in exclude and getattr(pipe, "is_trainable", False):
                    cast(TrainablePipe, pipe).finish_update(sgd)
        return losses

    def _multiprocessing_pipe(self, *args: Any) -> Iterator[Doc]:
        yield from spawn_if_needed(self, super()._multiprocessing_pipe(*args))

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]] | None = None,
        *,
        sgd: Optimizer | None = None,
    ) -> Optimizer:
        """Initialize the components for training; see `Language.initialize`.

        Tokenizer and encoder are loaded even if they are disabled, because the other components
        depend on them; spaCy disables frozen components.
        """
        for _, pipe in self.components:
            if isinstance(pipe, _OWN_COMPONENTS) and pipe.trf_name:
                pipe.initialize(get_examples or list, nlp=self)
        return super().initialize(get_examples, sgd=sgd)

    def resume_training(self, *, sgd: Optimizer | None = None) -> Optimizer:
        """Continue training with the weights as they are; see `Language.resume_training`.

        Text classifiers without weights are initialized.
        """
        for _, pipe in self.pipeline:
            if isinstance(pipe, TransformersTextCategorizer) and not pipe.is_initialized:
                pipe.initialize(None, nlp=self)
        return super().resume_training(sgd=sgd)

    def replace_listeners(
        self, tok2vec_name: str, pipe_name: str, listeners: Iterable[str]
    ) -> None:
        """Give a component its own copy of a `tok2vec`; see `Language.replace_listeners`.

        Raises:
            PipelineError: The component listens to trf_tok2vec, which can't be copied.
        """
        listeners = list(listeners)
        if listeners and tok2vec_name in self._names_of(TransformersTok2Vec):
            raise PipelineError(
                f"{pipe_name}: can't have its own copy of {tok2vec_name}",
                hint="To freeze both, add both to frozen_components",
            )
        super().replace_listeners(tok2vec_name, pipe_name, listeners)

    def create_optimizer(self) -> Optimizer:
        """Create the optimizer of the config.

        spaCy's default is replaced by ours, which has learning rates for encoder and heads.
        """
        # spaCy doesn't interpolate variables such as ${training.max_steps}.
        configured = self.config.interpolate()["training"]["optimizer"]
        if configured == Language.default_config["training"]["optimizer"]:
            return TransformersOptimizer()
        return cast(Optimizer, registry.resolve({"optimizer": configured})["optimizer"])

    def _link_components(self) -> None:
        """Connect the components after the pipeline has changed or was loaded.

        Raises:
            PipelineError: They don't fit together.
        """
        super()._link_components()
        check_components(self)

    def _names_of(self, kind: type) -> set[str]:
        return {name for name, pipe in self.pipeline if isinstance(pipe, kind)}

    def _recipe(self, component: Any) -> tuple[str, dict[str, Any]]:
        """Return the factory and the config that create the same component."""
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


@cache
def _complete_config(language: type[TransformersLanguage]) -> Config:
    """The config of a pipeline without components, in any language: its meta has the language."""
    return language.from_config({}, meta={"lang": "xx"})._config
