"""Describe a profile in lines for the terminal."""

from collections.abc import Iterator, Sequence

from lockgate_step import Category, Column, Number, visible

from lockgate.new.columns import SUPPORT, looks_sensitive
from lockgate.new.gaps import find_missing
from lockgate.new.groups import Group
from lockgate.new.labels import reads_as_selected
from lockgate.new.profiling import Profile

_GROUPS = 8  # of a column, in the terminal


def describe(found: Profile) -> Iterator[str]:
    """Yield the profile in lines for the terminal."""
    return map(visible, _lines(found))  # a line break in a category would begin a line that looks like another


def _lines(found: Profile) -> Iterator[str]:
    total = found.positive.rows + found.negative.rows
    share = found.positive.rows / total
    by_name = reads_as_selected(found.positive.name) != reads_as_selected(found.negative.name)
    guessed = f"{'by its name' if by_name else 'the rarer label'}; change it with --positive"
    chosen = "set with --positive" if found.positive_was_given else guessed
    yield f"{found.source.path.name}: {found.rows:,} rows"
    if found.unlabelled:
        yield f"no label   {few(found.unlabelled)} rows have no {found.target}; they are left out, and counted by group"
    yield f"target     {found.target}: {found.positive.name!r} counts as selected ({share:.1%} of rows; {chosen})"
    yield f"score      = probability of {found.positive.name!r}"
    yield f"missing    spelled {', '.join(repr(each) for each in found.missing)}"
    yield f"inputs     {len(found.inputs)}"
    yield from (f"  {name:<24} {_described(column)}" for name, column in found.inputs.items())
    yield f"sensitive  {len(found.sensitive) or 'none found by name; list them with --sensitive'}"
    yield from (f"  {name:<24} {_described(column)}" for name, column in found.sensitive.items())
    yield from _groups(found)
    for name, count in found.repeated.items():
        yield f"repeated   {count} columns are named {name} and have the same values; they are read as one"
    if found.left_out:
        yield f"left out   {len(found.left_out)}"
        yield from _left_out(found)
    yield from _cautions(found)


def few(count: int) -> str:
    """A count of people as it may be shown."""
    return f"{count:,}" if count >= SUPPORT else f"fewer than {SUPPORT}"


def percent(rate: float | None) -> str:
    """A rate as it may be shown."""
    return "few" if rate is None else f"{rate:.1%}"


def _groups(found: Profile) -> Iterator[str]:
    """The groups of each sensitive column, the largest first, with the rates of the label and of missing labels."""
    for name, groups in found.groups.items():
        without = " and rows without a label" if found.unlabelled else ""
        yield f"groups     by {name}: rows, share of {found.positive.name!r}{without}"
        for group in sorted(groups, key=lambda each: -each.rows)[:_GROUPS]:
            yield f"  {group.name:<24} {_rates(found, group)}"
        if len(groups) > _GROUPS:
            yield f"  and {len(groups) - _GROUPS} more; README.md lists them"


def _rates(found: Profile, group: Group) -> str:
    rows = f"{few(group.rows + group.unlabelled):>14}  {percent(group.rate):>6}"
    return f"{rows}  {percent(group.unlabelled_rate):>6}" if found.unlabelled else rows


def _left_out(found: Profile) -> Iterator[str]:
    """The columns that are left out; several with one reason are listed below it."""
    for why in dict.fromkeys(found.left_out.values()):
        names = [name for name, reason in found.left_out.items() if reason == why]
        yield f"  {names[0] if len(names) == 1 else f'{len(names)} columns':<24} {why}"
        if len(names) > 1:
            yield f"    {', '.join(names)}"


def _cautions(found: Profile) -> Iterator[str]:
    share = found.test_share
    for name in found.left_out:
        if looks_sensitive(name):
            yield f"not audited  {name} has the name of a sensitive column, but is left out for the reason above"
    for name, groups in found.groups.items():
        small = [group.name for group in groups if not group.judged(share)]
        errors = [group.name for group in groups if group.judged(share) and not group.errors_judged(share)]
        if small:
            yield f"too small to judge  {name}: {_some(small)}"
        if errors:
            yield f"errors too few to judge  {name}: {_some(errors)}"
    if found.telling:
        alone = ", ".join(f"{name} ({strength:.2f})" for name, strength in found.telling.items())
        yield f"known later?  each of these alone nearly tells {found.target} (Cramér's V): {alone}"
    for name in dict.fromkeys(proxy.column for proxy in found.proxies):
        of = (f"{each.of} (Cramér's V {each.strength:.2f})" for each in found.proxies if each.column == name)
        yield f"proxy      {name} is associated with {' and '.join(of)}; a model may use it as a proxy"
    gaps = list(find_missing(found))
    for name in dict.fromkeys(each.column for each in gaps):
        where = "; ".join(each.where for each in gaps if each.column == name)
        yield f"missing    {name} is missing {where}; a model may use a missing value as a proxy"
    for name, rare in found.rare.items():
        are = "is" if rare == 1 else "are"
        yield f"rare       {name}: {rare} of its values {are} in fewer than {SUPPORT} rows; merge them if possible"
    if found.key:
        yield f"split      by {found.key}, so that no subject is in both the training and the test rows"


def _described(column: Column) -> str:
    gaps = ", may be missing" if column.missing else ""
    match column:
        case Number():
            kind = "whole number" if column.whole else "number"
            bands = f", in bands at {', '.join(f'{edge:g}' for edge in column.bands)}" if column.bands else ""
            return f"{kind}, {column.low:,.12g} to {column.high:,.12g}{bands}{gaps}"
        case Category():
            return f"category: {_some(column.values)}{gaps}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (f", … ({len(names)})" if len(names) > 6 else "")
