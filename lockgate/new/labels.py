"""Find the two labels of a target column, and which of them counts as selected."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from lockgate.errors import BadCall, UnknownName
from lockgate.new.columns import SUPPORT, Tally

# Common labels in English and French, lower case and without a final full stop.
_SELECTED_WORDS = """
yes y true t 1 1.0 oui vrai granted approved accepted selected positive eligible pass passed accordé accordée approuvé
approuvée accepté acceptée positif admissible
"""
_REFUSED_WORDS = """
no n false f 0 0.0 non faux refused denied rejected declined negative ineligible fail failed refusé refusée rejeté
rejetée négatif inadmissible
"""
_SELECTED = frozenset(_SELECTED_WORDS.split())
_REFUSED = frozenset(_REFUSED_WORDS.split())


@dataclass(frozen=True)
class Label:
    """One label of the target: its most common spelling, its number of rows, and its other spellings."""

    name: str
    rows: int
    spellings: tuple[str, ...] = ()


def find_labels(tally: Tally, target: str, positive: str | None, missing: Sequence[str]) -> tuple[Label, Label]:
    """Return the label that counts as selected, then the other one.

    positive: the label that counts as selected; by default, the one that reads so (yes, granted), else the rarer one.
    missing: the file's spellings of a missing value.
    Errors: BadCall if the column does not have two labels with enough rows; UnknownName.
    """
    variants: dict[str, Counter[str]] = {}
    for value, count in tally.counts.items():
        if value in missing:
            continue
        variants.setdefault(value.strip().rstrip(".").casefold(), Counter())[value] += count
    if tally.many or len(variants) > 2:
        many = "many" if tally.many or len(variants) > 20 else str(len(variants))
        msg = f"{target} has {many} different values; a model predicts one of two labels"
        raise BadCall(
            msg, fix="derive a column with two values from it (such as yes and no), and use that as the target"
        )
    if len(variants) < 2:
        msg = f"{target} has the same value in every row, so nothing can be learned"
        raise BadCall(msg, fix="use data with rows of both labels")
    labels = []
    for counts in variants.values():
        name = counts.most_common(1)[0][0]
        labels.append(Label(name, counts.total(), tuple(sorted(counts.keys() - {name}))))
    labels.sort(key=lambda label: (-reads_as_selected(label.name), label.rows, label.name))
    if positive is not None:
        chosen = [label for label in labels if positive in (label.name, *label.spellings)]
        if not chosen:
            raise UnknownName("label", positive, [label.name for label in labels])
        labels.sort(key=lambda label: label is not chosen[0])
    rarer = min(label.rows for label in labels)
    if rarer < 2 * SUPPORT:
        msg = f"the rarer label of {target} is in fewer than {2 * SUPPORT} rows: too few to train and test a model"
        raise BadCall(msg, fix="use more data")
    return labels[0], labels[1]


def reads_as_selected(name: str) -> int:
    """Return 1 for a label such as yes, -1 for one such as no, and 0 for any other."""
    word = name.strip().rstrip(".").casefold()
    return (word in _SELECTED) - (word in _REFUSED)
