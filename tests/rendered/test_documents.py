"""The generated references are complete, and every command line that a text shows can be parsed."""

import json
import shlex
from pathlib import Path

import pytest

import lockgate
from docs.generate import api, pages, programs, spec, verbs
from docs.generate.place import DOCS
from tests.pages import ROOT, commands, mentioned

SHOWN = sorted(
    {(c.page, c.text) for c in commands() if c.text.startswith("lockgate ")}
    | set(mentioned())
    | {
        (f"lockgate {verb} --help", line)
        for verb, command in verbs.commands().items()
        for line in verbs.examples(command)
    }
)


def test_the_reference_has_every_verb_with_its_options_and_an_example() -> None:
    text = verbs.text()
    for name, command in verbs.commands().items():
        section = text.split(f"### {name}\n")[1].split("\n### ")[0]
        for parameter in command.params:
            if parameter.param_type_name == "option" and not parameter.hidden:
                assert f"`{parameter.opts[-1]}`" in section
        assert f"$ lockgate {name}" in section


def test_the_reference_has_every_setting_of_every_program() -> None:
    text = programs.text()
    for contract in (json.loads(path.read_text()) for path in ROOT.glob("steps/*/contract.json")):
        for program in contract["programs"]:
            section = text.split(f"## {program['program']}\n")[1].split("\n## ")[0]
            for parameter in program["parameters"]:
                assert f"| `{parameter['name']}` |" in section


def test_a_setting_without_help_is_refused() -> None:
    parameter = {"name": "seed", "type": "integer", "default": 0, "enum": None, "help": ""}
    program = {"program": "train", "help": "Fit.", "image": "train", "gate": False, "signs": False, "uses": []}
    with pytest.raises(ValueError, match="setting seed of train has no help"):
        programs.section({**program, "inputs": [], "outputs": [], "parameters": [parameter]})


def test_the_reference_has_every_field_of_a_model_spec() -> None:
    text = spec.text()
    for name in spec.PARTS:
        assert all(meaning for *_, meaning in spec.fields(name))
    assert set(lockgate.ModelSpec.__dataclass_fields__) == {field for field, *_ in spec.fields("ModelSpec")}
    assert "| `test_share` | `float` | `0.25` |" in text


@pytest.mark.parametrize(
    ("more", "says"),
    [("[Split]\nkey = 'again'", "Split.key is explained in its docstring"), ("", "Split.seed is explained nowhere")],
    ids=["twice", "nowhere"],
)
def test_a_field_is_explained_once(more: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "reference").mkdir()
    (tmp_path / "reference" / "fields.toml").write_text(more)
    monkeypatch.setattr(spec, "DOCS", tmp_path)
    with pytest.raises(ValueError, match=says):
        spec.fields("Split")


def test_the_reference_has_every_public_name() -> None:
    text = api.composer()
    assert all(f":: lockgate.{name}\n" in text for name in lockgate.__all__)
    assert ":: lockgate.steps.smoke_test\n" in api.steps()
    assert ":: lockgate_step.program\n" in api.sdk()


@pytest.mark.parametrize(("where", "line"), SHOWN)
def test_a_command_line_names_a_verb_and_its_options(where: str, line: str) -> None:
    words = shlex.split(line)[1:]
    known = {"--version", "--help", "VERB"}
    if words[0] in known:
        return
    command = verbs.commands()[words[0]]
    options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    given = {word.partition("=")[0] for word in words[1:] if word.startswith("-") and word != "-"}
    assert given - options - {"--help"} == set()


def test_a_link_to_a_missing_file_is_refused() -> None:
    page = DOCS / "policy.md"
    with pytest.raises(pages.BrokenLink, match=r"docs/policy\.md links to none\.md"):
        pages.assembled(page, "See [this](none.md).")
    assert pages.assembled(page, "[a](security.md#keys), [b](../README.md)") == "[a](security.md#keys), [b](start.md)"
    assert "/blob/main/steps/train/contract.json)" in pages.assembled(page, "[c](../steps/train/contract.json)")
    assert pages.assembled(page, "```text\n[d](none.md)\n```\n") == "```text\n[d](none.md)\n```\n"
