"""Each field of meta.json becomes one header of the package, or a one-line error."""

import zipfile
from collections.abc import Callable
from email.header import decode_header, make_header
from email.message import Message
from email.parser import Parser
from email.utils import getaddresses
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from trfcli_pipeline.errors import ArgumentError, PipelineError
from trfcli_pipeline.tasks.package import package
from trfcli_pipeline.tasks.package_meta import package_meta

WithMeta = Callable[..., Path]


def read_headers(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        name = next(each for each in archive.namelist() if each.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode("utf-8"))


def test_fields_become_headers(with_meta: WithMeta, tmp_path: Path) -> None:
    model = with_meta(
        description="Finds spam\n  in short messages: ü, \"quoted\" \\ and 'more'.\n",
        author='Ada "A." Lovelace, Zürich',
        email="ada@example.org",
        url="https://example.org/spam?a=b#c",
        license="CC BY 4.0",
        requirements=["numpy>=2; python_version >= '3'", "pkg @ https://example.org/pkg.whl"],
    )
    (wheel,) = package(model, tmp_path / "out", formats=["wheel"]).archives
    headers = read_headers(wheel)
    assert headers["Summary"] == "Finds spam in short messages: ü, \"quoted\" \\ and 'more'."
    assert headers["License"] == "CC BY 4.0"
    (author,) = getaddresses([str(make_header(decode_header(headers["Author-email"])))])
    assert author == ('Ada "A." Lovelace, Zürich', "ada@example.org")
    assert headers.get_all("Project-URL") == ["Homepage, https://example.org/spam?a=b#c"]
    required = headers.get_all("Requires-Dist")
    assert required is not None
    assert [Requirement(each).name for each in required] == ["numpy", "pkg", "spacy"]
    assert "# en_trf_tiny" in headers.get_payload()


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        *(
            (field, "x\nRequires-Dist: evil", "has a line break")
            for field in ("lang", "name", "version", "spacy_version")
        ),
        *(
            (field, text, "has a line break")
            for field in ("author", "email", "url", "license")
            for text in ("x\nRequires-Dist: evil", "x\n\nBody", "x\r", "\x85x", "x\u2028y", "x\x0b")
        ),
        ("author", "x\x00", "has a control character (U+0000)"),
        ("license", "\x1b[31mMIT", "has a control character (U+001B)"),
        ("description", "x\x07", "has a control character (U+0007)"),
        ("requirements", ["a; python_version > '3\n\nBody'"], "has a line break"),
        ("requirements", ["a b"], "'a b' is not a requirement"),
        ("requirements", ["a\nb"], "has a line break"),
        ("spacy_version", ">=3.8 evil", "'spacy>=3.8 evil' is not a requirement"),
        ("email", "ada", "'ada' is not an e-mail address"),
        ("email", "a@b, c@d", "is not an e-mail address"),
        ("email", "@", "is not an e-mail address"),
        ("url", "example.org", "is not the address of a web page"),
        ("url", "javascript:alert(1)", "is not the address of a web page"),
        ("url", "https://[", "is not the address of a web page"),
        ("url", "https://example.org/a b", "is not the address of a web page"),
        ("name", "a-b", "'a-b' can't be part of the name of a package"),
        ("lang", "../en", "'../en' can't be part of the name of a package"),
        ("version", "9" * 5000, "is not a version"),
        ("version", "new", "'new' is not a version"),
    ],
)
def test_field_that_no_header_can_have(
    with_meta: WithMeta, field: str, value: Any, problem: str
) -> None:
    model = with_meta(**{field: value})
    with pytest.raises(PipelineError) as error:
        package_meta(model)
    assert error.value.message.startswith(f'{model / "meta.json"}: "{field}"')
    assert problem in error.value.message
    assert len(error.value.message.splitlines()) == 1
    assert error.value.hint


@pytest.mark.parametrize(
    ("option", "value"),
    [("name", "a\nb"), ("name", "a\ud800"), ("version", "1.0\n"), ("version", "1.0\n\nBody")],
)
def test_error_names_the_option(model_dir: Path, option: str, value: str) -> None:
    with pytest.raises(ArgumentError) as error:
        package_meta(model_dir, **{option: value})
    assert error.value.message.startswith(f"--{option}")
    assert len(error.value.message.splitlines()) == 1
    error.value.message.encode("utf-8")


@pytest.mark.parametrize(
    ("field", "content"),
    [
        ("author", r'"author": "\ud83d"'),
        ("labels.textcat", r'"labels": {"textcat": ["HAM", "\udc00"]}'),
        ("sources.url", r'"sources": [{"url": "https://example.org/\ud800"}]'),
        (r"trf.training.data.\ud800", r'"trf": {"training": {"data": {"\ud800": "01"}}}'),
    ],
)
def test_lone_surrogate(with_meta: WithMeta, field: str, content: str) -> None:
    model = with_meta()
    meta = '{"lang": "en", "name": "x", "version": "1.0", ' + content + "}"
    (model / "meta.json").write_text(meta, encoding="utf-8")
    with pytest.raises(PipelineError) as error:
        package_meta(model)
    problem = f'{model / "meta.json"}: "{field}" has half of a character (a lone surrogate) in '
    assert error.value.message.startswith(problem)
    error.value.message.encode("utf-8")


@pytest.mark.parametrize(
    "content", [b'{"lang": "\xff"}', b"\xef\xbb\xbf{}", b"[" * 100_000, b'{"lang": NaN}', b""]
)
def test_meta_that_cannot_be_read(with_meta: WithMeta, content: bytes) -> None:
    model = with_meta()
    (model / "meta.json").write_bytes(content)
    with pytest.raises(PipelineError, match=r"meta\.json") as error:
        package_meta(model)
    assert len(error.value.message.splitlines()) == 1


def test_deeply_nested_meta(with_meta: WithMeta) -> None:
    model = with_meta()
    meta = '{"lang": "en", "name": "x", "version": "1.0", "x": ' + "[" * 500 + "]" * 500 + "}"
    (model / "meta.json").write_text(meta, encoding="utf-8")
    assert package_meta(model)["name"] == "x"


@pytest.mark.parametrize(
    "changes",
    [
        {"trf": {"training": {"labels": ["HAM"]}}},
        {"performance": {"accuracy": 0.9, "cats_f_per_type": {"HAM": {"p": None}}}},
        {"performance": {"accuracy": 0.9, "intervals": {"accuracy": ["a", "b"]}}},
    ],
    ids=str,
)
def test_meta_that_no_card_can_be_made_of(
    with_meta: WithMeta, tmp_path: Path, changes: dict[str, Any]
) -> None:
    model = with_meta(**changes)
    with pytest.raises(PipelineError, match="no model card can be made of") as error:
        package(model, tmp_path / "out", formats=())
    assert len(error.value.message.splitlines()) == 1
    (model / "README.md").write_text("# Mine\n")
    package(model, tmp_path / "out", formats=())


@pytest.mark.parametrize(
    ("value", "place"), [(["encoder"], "trf"), (None, "trf"), ({"training": 3}, "trf -> training")]
)
def test_trf_of_another_type(with_meta: WithMeta, value: Any, place: str) -> None:
    with pytest.raises(PipelineError, match=rf"\[{place}\] Input should be an object"):
        package_meta(with_meta(trf=value))
