"""Reads the data once: writes canonical rows into the snapshot, and each row to its side of the split."""

import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from lockgate_step import BadCall, Record, SpecFile, file_digest, io_root, layout, log, read_spec
from lockgate_store import open_store

from lockgate_ingest.base import freeze_base
from lockgate_ingest.canonical import Converter, LogicalDigest, snapshot_hex
from lockgate_ingest.columns import kept, wanted
from lockgate_ingest.copies import Seen, copies
from lockgate_ingest.read import batches
from lockgate_ingest.snapshot import Snapshot
from lockgate_ingest.source import Source, beside, checked, named, opened
from lockgate_ingest.split import in_test
from lockgate_ingest.unlabelled import Unlabelled, labelled
from lockgate_ingest.views import View
from lockgate_ingest.write import TableWriter

PROGRESS = 1 << 20  # rows between two progress events in the log


@dataclass(frozen=True)
class Tables:
    """The paths of the five output tables."""

    rows: Path
    train_sensitive: Path
    test: Path
    truth: Path
    sensitive: Path


class Share:
    """One side of the split: its tables, its number of rows by label, those without one, and the rows' digests."""

    def __init__(self, spec: SpecFile, called: str, tables: Sequence[tuple[TableWriter, View]]) -> None:
        self._target, self._called, self._tables = spec.target, called, tables
        self._labels: Counter[str] = Counter()
        self.unlabelled, self.seen = Unlabelled(spec), Seen(spec)

    @property
    def rows(self) -> int:
        """The number of rows."""
        return self._labels.total()

    def add(self, batch: pa.RecordBatch) -> None:
        """Append the canonical rows that have a label to each of the share's tables."""
        self.unlabelled.add(batch)
        batch = labelled(batch, self._target.name)
        self.seen.add(batch)
        for counted in pc.value_counts(batch.column(self._target.name)).to_pylist():
            self._labels[counted["values"]] += counted["counts"]
        for writer, view in self._tables:
            writer.add(view.of(batch))

    def check(self) -> None:
        """Check that both labels occur. Errors: BadCall."""
        for label in (self._target.positive, self._target.negative):
            if not self._labels[label]:
                msg = f"none of the {self.rows:,} rows of the {self._called} has {self._target.name} = {label!r}"
                raise BadCall(msg, fix="give data with rows of both labels, or correct the target in the spec")


def freeze(
    spec_path: Path, tables: Tables, base_folder: Path, *, data: str, test_data: str = "", data_sha256: str = ""
) -> Record:
    """Freeze data and base, write the tables, and return the content of the data record.

    Errors: BadCall for invalid data, OutsideFailed when the store fails, Refusal for a damaged base or snapshot.
    """
    spec = read_spec(spec_path)
    environment, credentials = io_root() / layout.ENVIRONMENT, io_root() / layout.CREDENTIALS
    store = open_store(environment, credentials)
    official = test_data or (beside(data, spec.data.uri, spec.data.test) if spec.data.test else "")
    given = [each for each in (("data", data, data_sha256), ("official", official, "")) if each[1]]
    for _, uri, _ in given:  # before the first of them is copied
        checked(uri, environment)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        sources = [
            stack.enter_context(opened(uri, environment, credentials, scratch / name, sha256=wanted))
            for name, uri, wanted in given
        ]
        _differ([source.digest for source in sources], [source.name for source in sources])
        train, test, snapshot = divide(spec, tables, sources, scratch)
        for source in sources:  # only now it is known to be a table
            log("data", file=source.name, digest=source.digest, bytes=source.path.stat().st_size)
        snapshot.check_names([(uri, wanted) for _, uri, wanted in given])
        snapshot.keep(store, spec, scratch)
    base = freeze_base(store, spec.name, base_folder)
    unlabelled = {"train": train.unlabelled.to_json(), "test": test.unlabelled.to_json()}
    keyed = {"kind": "keyed", **asdict(spec.split), "key": list(spec.split.key)}
    return Record(
        kind="data",
        subjects={
            "data": f"sha256:{snapshot.hex}",
            "spec": file_digest(spec_path),
            "base": file_digest(base_folder / "base.json"),
            **{name: file_digest(path) for name, path in vars(tables).items()},
        },
        predicate={
            "model": spec.name,
            "uri": named(data),
            "sources": {source.name: source.digest for source in sources},
            "rows": {"total": train.rows + test.rows, "train": train.rows, "test": test.rows},
            "unlabelled": unlabelled if any(unlabelled.values()) else None,
            "copies": copies(train.seen, test.seen),
            "split": {"kind": "official", "uri": named(official)} if official else keyed,
            "base": {"bundle": base["bundle"], "generation": base["generation"]},
        },
    )


def divide(spec: SpecFile, tables: Tables, sources: Sequence[Source], scratch: Path) -> tuple[Share, Share, Snapshot]:
    """Read the data, then the official test file if there is one, and write tables and snapshot.

    Errors: BadCall.
    """
    converter = Converter(spec)
    inputs, target, sensitive = View(spec.inputs), View([spec.target.column]), View(spec.sensitive, bands=True)
    files = [scratch / name for name in ("rows.parquet", "test.parquet")[: len(sources)]]
    digests = [LogicalDigest(kept(spec)) for _ in sources]
    with ExitStack() as stack:

        def table(path: Path, view: View) -> tuple[TableWriter, View]:
            return stack.enter_context(TableWriter(path, view.schema)), view

        seen = View([*inputs.columns, *target.columns])
        train = Share(spec, "training share", [table(tables.rows, seen), table(tables.train_sensitive, sensitive)])
        test = Share(
            spec,
            "test share",
            [table(tables.test, inputs), table(tables.truth, target), table(tables.sensitive, sensitive)],
        )
        for source, file, digest, share in zip(sources, files, digests, (train, test), strict=False):
            snapshot, shown = table(file, View(kept(spec)))
            for batch in batches(source, spec.data, [column.name for column in wanted(spec)]):
                rows = converter.convert(batch)
                known = labelled(rows, spec.target.name)
                digest.update(known)
                snapshot.add(shown.of(known))
                if len(sources) > 1:
                    share.add(rows)
                else:
                    side = in_test(rows, spec)
                    train.add(rows.filter(pc.invert(side)))
                    test.add(rows.filter(side))
                if digest.rows % PROGRESS < rows.num_rows:
                    log("progress", done=digest.rows, what="rows", file=source.name)
            if not digest.rows:
                converter.check(source.name)
                msg = f"{source.name} has no rows"
                raise BadCall(msg, fix="point data at a file with rows")
            converter.check(source.name)
        for share in (train, test):
            share.check()
    _differ([snapshot_hex([digest]) for digest in digests], [source.name for source in sources])
    return train, test, Snapshot(files, digests)


def _differ(digests: Sequence[str], names: Sequence[str]) -> None:
    """Check that the official test file is not the training file. Errors: BadCall."""
    if len(set(digests)) < len(digests):
        msg = f"the test file {names[1]} has the same content as the data file {names[0]}"
        raise BadCall(
            msg, fix="name a file of other rows as test, or leave it out: ingest then keeps a share for tests"
        )
