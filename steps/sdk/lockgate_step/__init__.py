"""What every Lockgate program imports: files, settings, outcomes, errors, log and exit codes.

Standard library only, because it is in every image. `PROTOCOL` is the version of what a program and its
surroundings agree on (folders, exit codes, contract.json), not of this package: it changes only when an old program
would no longer run beside a new one.
"""

from lockgate_step._private import no_core_files  # isort: skip  # first: libraries read its settings when imported
from lockgate_step._address import without_credentials, without_files
from lockgate_step._columns import Category, Column, Number, named, read_columns, without_bands
from lockgate_step._contract import EXIT_CODES, PROTOCOL, ContractError, is_additional, is_folder, read_contract
from lockgate_step._digest import canonical, file_digest, is_digest, loads, sha256, stream_digest, tree_digest
from lockgate_step._errors import BadCall, LockgateError, OutsideFailed, Refusal, SpecError
from lockgate_step._files import (
    AdditionalVerdict,
    AdditionalVerdicts,
    Answers,
    Base,
    BiasVerdict,
    Bundle,
    DataRecord,
    DataVerdict,
    Expectations,
    In,
    Kind,
    ModelFile,
    Out,
    Policy,
    PromotionRecord,
    QualityVerdict,
    Report,
    SmokeVerdict,
    Spec,
    Staged,
    Table,
    Waivers,
)
from lockgate_step._log import log
from lockgate_step._outcome import Inconclusive, NotJudged, Outcome, Passed, Reason, Record, Refused
from lockgate_step._reading import Limits, Records, check_unpacked, unpacked
from lockgate_step._run import Sealer, io_root, main, program
from lockgate_step._spec import Data, Scalar, Serving, SpecFile, Split, Target, additional_gates, read_spec
from lockgate_step._supplied import (
    LARGEST_FOLDER,
    LARGEST_RECORD,
    MOST_FILES,
    UnsafeFile,
    copy_supplied,
    is_plain,
    open_supplied,
    read_supplied,
    supplied_files,
)
from lockgate_step._synthetic import synthetic_rows
from lockgate_step._time import read_time
from lockgate_step._version import VERSION
from lockgate_step._visible import visible

__all__ = [
    "EXIT_CODES",
    "LARGEST_FOLDER",
    "LARGEST_RECORD",
    "MOST_FILES",
    "PROTOCOL",
    "VERSION",
    "AdditionalVerdict",
    "AdditionalVerdicts",
    "Answers",
    "BadCall",
    "Base",
    "BiasVerdict",
    "Bundle",
    "Category",
    "Column",
    "ContractError",
    "Data",
    "DataRecord",
    "DataVerdict",
    "Expectations",
    "In",
    "Inconclusive",
    "Kind",
    "Limits",
    "LockgateError",
    "ModelFile",
    "NotJudged",
    "Number",
    "Out",
    "Outcome",
    "OutsideFailed",
    "Passed",
    "Policy",
    "PromotionRecord",
    "QualityVerdict",
    "Reason",
    "Record",
    "Records",
    "Refusal",
    "Refused",
    "Report",
    "Scalar",
    "Sealer",
    "Serving",
    "SmokeVerdict",
    "Spec",
    "SpecError",
    "SpecFile",
    "Split",
    "Staged",
    "Table",
    "Target",
    "UnsafeFile",
    "Waivers",
    "additional_gates",
    "canonical",
    "check_unpacked",
    "copy_supplied",
    "file_digest",
    "io_root",
    "is_additional",
    "is_digest",
    "is_folder",
    "is_plain",
    "loads",
    "log",
    "main",
    "named",
    "no_core_files",
    "open_supplied",
    "program",
    "read_columns",
    "read_contract",
    "read_spec",
    "read_supplied",
    "read_time",
    "sha256",
    "stream_digest",
    "supplied_files",
    "synthetic_rows",
    "tree_digest",
    "unpacked",
    "visible",
    "without_bands",
    "without_credentials",
    "without_files",
]
