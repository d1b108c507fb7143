"""What every Lockgate program imports: files, settings, outcomes, errors, log and exit codes.

Standard library only, because it is in every image. `PROTOCOL` is the version of what a program and its
surroundings agree on (folders, exit codes, contract.json), not of this package: it changes only when an old program
would no longer run beside a new one.
"""

from lockgate_step._contract import EXIT_CODES, PROTOCOL, ContractError, is_folder, read_contract
from lockgate_step._digest import canonical, file_digest, sha256, tree_digest
from lockgate_step._errors import BadCall, OutsideFailed, Refusal, StepError
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
from lockgate_step._run import Sealer, io_root, main, program
from lockgate_step._synthetic import synthetic_rows

__all__ = [
    "EXIT_CODES",
    "PROTOCOL",
    "Answers",
    "BadCall",
    "Base",
    "BiasVerdict",
    "Bundle",
    "ContractError",
    "DataRecord",
    "DataVerdict",
    "Expectations",
    "In",
    "Inconclusive",
    "Kind",
    "ModelFile",
    "Out",
    "Outcome",
    "OutsideFailed",
    "Passed",
    "Policy",
    "QualityVerdict",
    "Reason",
    "Record",
    "Refusal",
    "Refused",
    "Report",
    "Sealer",
    "SmokeVerdict",
    "Spec",
    "Staged",
    "StepError",
    "Table",
    "Waivers",
    "canonical",
    "file_digest",
    "io_root",
    "is_folder",
    "log",
    "main",
    "program",
    "read_contract",
    "sha256",
    "synthetic_rows",
    "tree_digest",
]
