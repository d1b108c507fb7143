"""The columns of the data that ingest reads and keeps."""

from dataclasses import dataclass

from lockgate_step import Category, Number, SpecFile


@dataclass(frozen=True)
class Text:
    """A column of strings without a list of values."""

    name: str


Column = Number | Category | Text


def kept(spec: SpecFile) -> tuple[Column, ...]:
    """Return the columns that are kept, sorted by name, so that the snapshot does not depend on the spec's order."""
    columns = {column.name: column for column in (*spec.sensitive, *spec.inputs, spec.target.column)}
    return tuple(columns[name] for name in sorted(columns))


def wanted(spec: SpecFile) -> tuple[Column, ...]:
    """Return the columns that are read: those kept, and the split key's, which only decide a row's side."""
    columns = kept(spec)
    known = {column.name for column in columns}
    return (*columns, *(Text(name) for name in spec.split.key if name not in known))
