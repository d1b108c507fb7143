"""The commands that the documentation shows, and where each of them is executed.

A command is a line that begins with `$ ` in a `console` block. `tests/journeys/test_pages.py` executes it, unless its
block begins with the comment `# needs ...` or it is listed in ELSEWHERE.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GUIDES = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/**/*.md")
PAGES = (*GUIDES, "tests/*/README.md", "benchmarks/*.md", "pipelines/*/*.md")
CLUSTER = "a cluster"
# The README's commands that need a cluster are executed unchanged by tests/cluster/test_readme.py.
ON_THE_CLUSTER = "README.md"
PATCH = "-n argo --patch-file kubernetes/argo-controller"
DOCTOR = "tests/cluster/test_doctor.py, on a controller of its own"
# Commands that are not executed unchanged -> where they are executed instead, or why they are not.
ELSEWHERE = {
    "make test": "it runs this test",
    "make test-cluster": "it needs root and makes a cluster; .ci/run",
    "make cluster-up": "the first part of make test-cluster",
    "make cluster-down": "the last part of make test-cluster",
    "make bench": "it takes long; benchmarks/results shows that it ran",
    "make bench-cluster": "it takes long; benchmarks/results shows that it ran",
    "make check": "it takes minutes; .ci/run",
    "make docs": "it takes long; .ci/run",
    "make lock": "it needs a package index",
    "git clone https://github.com/lockgate/lockgate && cd lockgate": "the address is a placeholder",
    ".venv/bin/pre-commit install": "it changes the hooks of the clone",
    ".venv/bin/python tests/run_all.py rendered sdk": "make test runs these suites",
    ".venv/bin/python -m pytest -q tests/rendered/test_rules.py": "make test runs this file",
    ".venv/bin/detect-secrets scan --baseline .secrets.baseline": "it reads every file, for minutes",
    f"kubectl patch configmap workflow-controller-configmap {PATCH}/configmap.yaml": DOCTOR,
    f"kubectl patch deployment workflow-controller {PATCH}/deployment.yaml": DOCTOR,
    'lockgate waive RUN GATE/N -n lockgate --by "Ana Diaz, director" --until DATE --why "..." --key waive.pem':
        "tests/cluster/test_release.py, with a run's id",
    "lockgate render --kubernetes --set monitoring=true": "tests/rendered/test_monitoring.py",
    "lockgate run adult-income --in podman": "tests/cluster/test_images.py, where the images are built",
}  # fmt: skip
BLOCK = re.compile(r"(?ms)^```console\n(?:# needs (?P<needs>[^\n]+)\n)?(?P<body>.*?)^```$")
COMMAND = re.compile(r"(?m)^\$ (?P<text>.+)\n(?P<output>(?:(?!^\$ ).*\n?)*)")
RENDERED = re.compile(r"<!-- begin: (?:run|refused) -->\n```text\n(.*?)```", re.DOTALL)
INLINE = re.compile(r"`(lockgate [^`]+)`")


@dataclass(frozen=True)
class Command:
    """A command of a page, what its block needs, the exit code it must have and the output that the page shows."""

    page: str
    text: str
    needs: str
    exit: int
    shown: str

    @property
    def executed(self) -> bool:
        """Whether `tests/journeys/test_pages.py` executes it."""
        return not self.needs and self.text not in ELSEWHERE


@cache
def pages() -> dict[str, str]:
    """The text of every page, the README first, by its path."""
    found = {path.relative_to(ROOT).as_posix(): path for form in PAGES for path in sorted(ROOT.glob(form))}
    return {name: path.read_text(encoding="utf-8") for name, path in found.items()}


@cache
def commands() -> list[Command]:
    """Every command of every page, in order."""
    return [command for name, text in pages().items() for command in _of(name, text)]


def _of(page: str, text: str) -> Iterator[Command]:
    blocks = list(BLOCK.finditer(text))
    for block, following in zip(blocks, [*blocks[1:], None], strict=False):
        end = following.start() if following else len(text)
        found = list(COMMAND.finditer(block["body"]))
        for index, match in enumerate(found):
            after = match["output"] + (text[block.end() : end] if index == len(found) - 1 else "")
            shown = rendered[1] if (rendered := RENDERED.search(after)) else match["output"]
            code = int(said[1]) if (said := re.search(r"(?m)^exit (\d)$", shown)) else 0
            without_comment = re.sub(r" {2,}# .*$", "", match["text"])
            yield Command(page, without_comment, block["needs"] or "", code, shown)


def mentioned() -> list[tuple[str, str]]:
    """Every `lockgate ...` that a page has inside a sentence or a table, with its page."""
    prose = {name: re.sub(r"(?ms)^```.*?^```$", "", text) for name, text in pages().items()}
    return [(name, call.replace(r"\|", "|")) for name, text in prose.items() for call in INLINE.findall(text)]
