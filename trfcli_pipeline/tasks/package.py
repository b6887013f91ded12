"""Build an installable Python package from a pipeline directory.

The layout is that of `spacy.cli.package`. Unlike it, we package only the pipeline's own files,
check the metadata, build reproducible archives without network access, and put the result in place
in one step, so that a failed run leaves an existing package untouched.
"""

import json
import keyword
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import srsly
from packaging.requirements import Requirement
from spacy.cli.package import FILENAMES_DOCS, TEMPLATE_INIT, get_meta

from trfcli_pipeline.data.dataset import DataSource
from trfcli_pipeline.data.files import directory_bytes
from trfcli_pipeline.data.outputs import manifest
from trfcli_pipeline.data.outputs.directories import Kind, check_directory, open_directory
from trfcli_pipeline.data.reading import read_records
from trfcli_pipeline.errors import ArgumentError, OutputError, TrfError
from trfcli_pipeline.pipeline.foreign_pipelines import explain
from trfcli_pipeline.pipeline.language import DISTRIBUTION
from trfcli_pipeline.pipeline.user_code import import_code
from trfcli_pipeline.progress import phase
from trfcli_pipeline.tasks.archives import ARCHIVES, build_archives, timestamp
from trfcli_pipeline.tasks.before_after import evenly
from trfcli_pipeline.tasks.half import Halved, compare_halved, halve_encoder
from trfcli_pipeline.tasks.model_card import checked_card
from trfcli_pipeline.tasks.offline_predictions import EXAMPLE_TEXTS
from trfcli_pipeline.tasks.own_wheel import build_own_wheel
from trfcli_pipeline.tasks.package_meta import package_meta
from trfcli_pipeline.tasks.pipeline_files import list_pipeline_files
from trfcli_pipeline.tasks.verification import Verified, verify_wheel

_PROJECT = "pyproject.toml"
_MAX_TEXTS = 200


@dataclass(slots=True)
class Package:
    """A package that was built.

    Attributes:
        name: Name of the package and of the pipeline in it.
        version: Its version.
        directory: Where the package is; its archives are in `dist`.
        archives: Their paths, the sdist first.
        own_wheel: The wheel of trfcli beside them, if the package requires it.
        without_own_wheel: Why that wheel couldn't be built.
        halved: What it cost to store the weights in 16 bits.
        verified: What the installed wheel was compared in.
    """

    name: str
    version: str
    directory: Path
    archives: Sequence[Path] = ()
    own_wheel: Path | None = None
    without_own_wheel: str | None = None
    halved: Halved | None = None
    verified: Verified | None = None


def own_files(path: Path) -> frozenset[str] | None:
    """Find the files of a package source that `package` wrote; None if it isn't one."""
    listed = manifest.list_own(path)
    return listed if listed is not None and _PROJECT in listed else None


PACKAGE = Kind("a package of trf", own_files)


def package(
    model_dir: Path,
    output_dir: Path,
    *,
    name: str | None = None,
    version: str | None = None,
    formats: Sequence[str] = ("sdist", "wheel"),
    half: bool = False,
    verify: bool = False,
    texts: DataSource | None = None,
    code: Path | None = None,
    force: bool = False,
) -> Package:
    """Build an installable package from a pipeline directory.

    The package is written to `output_dir/LANG_NAME-VERSION`, its archives to `dist` inside it. It
    requires spaCy, the distributions that provide the functions in the pipeline's config, and
    trfcli if the pipeline uses it; the archives then include trfcli's own wheel. Its README.md is
    the pipeline directory's, if there is one, and a generated model card otherwise.

    Args:
        model_dir: The pipeline, as saved by `Language.to_disk`.
        output_dir: Parent directory of the package, created if missing.
        name: Name without the language. Default: the name in meta.json.
        version: PEP 440 version, which is normalized. Default: the version in meta.json.
        formats: Archives to build: "sdist", "wheel", both, or none.
        half: Store the encoder's weights in 16 bits.
        verify: Install the wheel into a fresh environment, and compare its predictions.
        texts: A data file of any format with texts to compare predictions on, if `half` or
            `verify`. Default: built-in texts.
        code: A Python file with functions that the pipeline needs. The package has a copy, and
            imports it.
        force: Replace an existing package. Other files in its directory stay.

    Raises:
        PipelineError: `model_dir` isn't a pipeline, can't be loaded, has files or a meta.json that
            a package can't have, or predicts something else after it was installed.
        OutputError: The package already exists, can't be written, or can't be built; or the
            environment variable SOURCE_DATE_EPOCH is invalid.
        ArgumentError: Arguments exclude each other, or the name, the version or a format can't be
            used.
        EncoderError: `half` is set, and the weights aren't in the safetensors format.
        DataError: A record of `texts` can't be read.
    """
    _check_arguments(formats, half=half, verify=verify, texts=texts)
    if code is not None:
        _check_module(code)
        import_code(code)
    check_directory(Path(output_dir))
    model_dir, output_dir = Path(model_dir).expanduser(), Path(output_dir).expanduser()
    meta = package_meta(model_dir, name=name, version=version)
    full_name = f"{meta['lang']}_{meta['name']}"
    target = output_dir / f"{full_name}-{meta['version']}"
    sample = EXAMPLE_TEXTS if texts is None else _read_texts(texts)
    built = Package(full_name, meta["version"], target)
    with open_directory(target, PACKAGE, force=force, models=[model_dir], data=[texts]) as claim:
        # Building an archive copies the files before it packs them.
        claim.check_room((1 + 2 * len(formats)) * directory_bytes(model_dir))
        with claim.staged() as staging:
            data_dir = staging / full_name / staging.name
            with phase(f"Copying {model_dir.name}"):
                _copy_pipeline(model_dir, data_dir)
                if half:
                    with _explained(data_dir, model_dir):
                        sizes = halve_encoder(data_dir)
            # spaCy loads the pipeline to find what it requires.
            with phase("Loading the copy"):
                meta = _complete(model_dir, data_dir, meta, half=half)
            _assemble(staging, data_dir, meta, code)
            if half:
                with phase("Comparing the weights in 16 bits"):
                    built.halved = compare_halved(model_dir.resolve(), data_dir, sizes, sample)
            if formats:
                with phase(f"Building the {' and '.join(formats)}"):
                    archives = build_archives(staging, staging / "dist", formats)
                built.archives = [target / path.relative_to(staging) for path in archives]
                with phase(f"Building the wheel of {DISTRIBUTION}"):
                    _add_own_wheel(built, staging / "dist", meta["requirements"])
            if verify:
                reference = data_dir if half else model_dir
                with phase("Verifying the wheel"):
                    built.verified = verify_wheel(
                        archives[-1], full_name, reference.resolve(), sample, code
                    )
            manifest.write_manifest(staging, manifest.list_files(staging))
    return built


def _check_arguments(
    formats: Sequence[str], *, half: bool, verify: bool, texts: DataSource | None
) -> None:
    unknown = [form for form in formats if form not in ARCHIVES]
    if unknown:
        raise ArgumentError(f"--build: {unknown[0]!r} isn't one of {', '.join(ARCHIVES)} and none")
    if verify and "wheel" not in formats:
        raise ArgumentError("--verify installs the wheel", hint="Add wheel to --build")
    if texts is not None and not (half or verify):
        raise ArgumentError(
            "--texts is for comparing predictions", hint="Use it with --verify or --half"
        )
    if formats:
        timestamp()


def _check_module(code: Path) -> None:
    """Check that a file can be a module of a package, as which it is imported."""
    if not code.stem.isidentifier() or keyword.iskeyword(code.stem) or code.stem == "__init__":
        raise ArgumentError(
            f"{code}: {code.stem!r} can't be the name of a module",
            hint="Rename the file: letters, digits and underscores, as in functions.py",
        )


def _read_texts(path: DataSource) -> Sequence[str]:
    return evenly([record.text for record in read_records(path, labeled=False)], _MAX_TEXTS)


def _copy_pipeline(model_dir: Path, data_dir: Path) -> None:
    """Copy the files that belong to a pipeline, without their modes."""
    data_dir.mkdir(parents=True)
    for name, source in list_pipeline_files(model_dir).items():
        if source.is_dir():
            (data_dir / name).mkdir()
        else:
            shutil.copyfile(source, data_dir / name)


@contextmanager
def _explained(data_dir: Path, model_dir: Path) -> Iterator[None]:
    """Explain errors of the copy as those of the pipeline, because the copy won't be there."""
    try:
        with explain(str(data_dir)):
            yield
    except TrfError as error:
        message, hint = (
            (each or "").replace(str(data_dir), str(model_dir))
            for each in (error.message, error.hint)
        )
        raise type(error)(message, hint=hint or None) from error


def _complete(
    model_dir: Path, data_dir: Path, meta: dict[str, Any], *, half: bool
) -> dict[str, Any]:
    """Return the meta.json with what only the loaded pipeline knows."""
    # spaCy loads the pipeline to find its requirements, which runs the code of its components.
    with _explained(data_dir, model_dir):
        complete: dict[str, Any] = get_meta(data_dir, meta)
    # spaCy lists what it finds in the order of a set.
    known = len(meta["requirements"])
    complete["requirements"][known:] = sorted(complete["requirements"][known:])
    # A pipeline from a package may have this from there.
    trf = {key: value for key, value in (meta.get("trf") or {}).items() if key != "stored_in"}
    if half:
        trf["stored_in"] = "fp16"
    if trf or "trf" in complete:
        complete["trf"] = trf
    return complete


def _assemble(
    package_dir: Path, data_dir: Path, meta: Mapping[str, Any], code: Path | None
) -> None:
    """Put what makes a package of a pipeline around its copy."""
    srsly.write_json(data_dir / "meta.json", meta)
    imports = ""
    if code is not None:
        shutil.copyfile(code, data_dir.parent / code.name)
        imports = f"from . import {code.stem}"
    init = TEMPLATE_INIT.format(imports=imports)
    (data_dir.parent / "__init__.py").write_text(init, encoding="utf-8")
    if not (data_dir / "README.md").exists():
        (data_dir / "README.md").write_text(checked_card(meta), encoding="utf-8")
    manifest.write_manifest(data_dir, manifest.list_files(data_dir))
    for directory in (data_dir.parent, package_dir):
        shutil.copyfile(data_dir / "meta.json", directory / "meta.json")
    for name in FILENAMES_DOCS:
        if (data_dir / name).exists():
            shutil.copyfile(data_dir / name, package_dir / name)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("trfcli_pipeline.tasks"),
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    # Without control characters, strings of JSON are strings of TOML.
    environment.filters["quoted"] = lambda value: json.dumps(value, ensure_ascii=False)
    text = environment.get_template("pyproject.toml.jinja").render(
        {**meta, "name": data_dir.parent.name}
    )
    (package_dir / _PROJECT).write_text(text, encoding="utf-8")


def _add_own_wheel(built: Package, dist: Path, requirements: Sequence[str]) -> None:
    """Put trfcli's wheel beside archives that require it, or note why that isn't possible."""
    own = [each for each in map(Requirement, requirements) if each.name == DISTRIBUTION]
    for requirement in own:
        try:
            wheel = build_own_wheel(dist, requirement)
        except OutputError as error:
            built.without_own_wheel = error.message
        else:
            built.own_wheel = built.directory / "dist" / wheel.name
