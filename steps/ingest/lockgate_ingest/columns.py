"""Which columns of the data ingest reads and keeps."""

from dataclasses import dataclass

from lockgate_step import Category, Number, SpecFile


@dataclass(frozen=True)
class Text:
    """A column of strings whose values no list closes."""

    name: str


Column = Number | Category | Text


def kept(spec: SpecFile) -> tuple[Column, ...]:
    """Every column that is kept, once, sorted by name: the snapshot does not depend on the order in the spec."""
    columns = {column.name: column for column in (*spec.sensitive, *spec.inputs, spec.target.column)}
    return tuple(columns[name] for name in sorted(columns))


def wanted(spec: SpecFile) -> tuple[Column, ...]:
    """Every column that is read: those kept, and those that only decide a row's side."""
    columns = kept(spec)
    known = {column.name for column in columns}
    return (*columns, *(Text(name) for name in spec.split.key if name not in known))
