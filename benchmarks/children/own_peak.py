"""Run `lockgate` and write its own peak memory to a file: own_peak.py FILE ARGUMENT..."""

import sys
from pathlib import Path

from benchmarks.harness import peak_mib
from lockgate.cli.main import run_app

if __name__ == "__main__":
    code = run_app(sys.argv[2:])
    Path(sys.argv[1]).write_text(str(peak_mib()))
    sys.exit(code)
