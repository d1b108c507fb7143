"""The one reader of times that somebody else wrote."""

import re
from datetime import UTC, datetime

_TIME = re.compile(r"2\d{3}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)", re.ASCII)


def read_time(text: object) -> datetime:
    """Return a time in UTC from ISO 8601 with its zone, e.g. `2027-01-31T00:00:00+00:00`.

    The years 2000 to 2999 only, so that no zone and no duration moves a time out of the calendar.
    Errors: ValueError.
    """
    if not isinstance(text, str) or not _TIME.fullmatch(text):
        msg = "not a time in ISO 8601 with its zone"
        raise ValueError(msg)
    return datetime.fromisoformat(text).astimezone(UTC)
