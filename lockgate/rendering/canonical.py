"""YAML in one canonical form."""

from collections.abc import Mapping
from typing import Any

import yaml


def dump(document: Mapping[str, Any]) -> str:
    """Dump as canonical YAML: sorted keys, block style, multi-line text as literal blocks."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=True, default_flow_style=False, width=110, allow_unicode=True)


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]  # the C emitter if it is available
    """Writes multi-line text as a literal block, so that a changed threshold is a one-line diff."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text.strip() else None)


_Dumper.add_representer(str, _text)
