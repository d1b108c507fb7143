"""The list of the JSON Schemas."""

import json

from docs.generate.place import ROOT, repository
from docs.generate.tables import table


def text() -> str:
    """One row for each schema: its title, what it describes, its file."""
    rows = []
    for path in sorted((ROOT / "schemas").glob("*.json")):
        schema = json.loads(path.read_text(encoding="utf-8"))
        rows.append((schema["title"], schema["description"], f"[{path.name}]({repository(path)})"))
    return table(("record", "what it is", "schema"), rows) if rows else ""
