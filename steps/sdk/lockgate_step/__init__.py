"""What every Lockgate program imports: files, settings, outcomes, errors, log and exit codes.

Standard library only, because it is in every image. `PROTOCOL` is the version of what a program and its
surroundings agree on (folders, exit codes, contract.json), not of this package: it changes only when an old program
would no longer run beside a new one.
"""

from lockgate_step._columns import Category, Column, Number, named, read_columns, without_bands
from lockgate_step._contract import EXIT_CODES, PROTOCOL, ContractError, is_folder, read_contract
from lockgate_step._digest import canonical, file_digest, sha256, tree_digest
from lockgate_step._errors import BadCall, LockgateError, OutsideFailed, Refusal, SpecError
from lockgate_step._files import (
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
    QualityVerdict,
    Report,
    SmokeVerdict,
    Spec,
    Staged,
    Table,
    Waivers,
)
from lockgate_step._log import log
from lockgate_step._outcome import Inconclusive, Outcome, Passed, Reason, Record, Refused
from lockgate_step._reading import Limits, Records, check_unpacked, unpacked
from lockgate_step._run import Sealer, io_root, main, program
from lockgate_step._spec import Data, Scalar, Serving, SpecFile, Split, Target, read_spec
from lockgate_step._synthetic import synthetic_rows
from lockgate_step._visible import visible

__all__ = [
    "EXIT_CODES",
    "PROTOCOL",
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
    "Number",
    "Out",
    "Outcome",
    "OutsideFailed",
    "Passed",
    "Policy",
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
    "Waivers",
    "canonical",
    "check_unpacked",
    "file_digest",
    "io_root",
    "is_folder",
    "log",
    "main",
    "named",
    "program",
    "read_columns",
    "read_contract",
    "read_spec",
    "sha256",
    "synthetic_rows",
    "tree_digest",
    "unpacked",
    "visible",
    "without_bands",
]
