"""The command `lockgate`; with `lockgate.cli` the only code that prints or exits."""

import os
import sys


def main() -> None:
    """Run the command line."""
    from lockgate_step import no_core_files

    from lockgate.cli.main import run_app

    no_core_files()  # here, and so in each child
    # Rows, keys and records are for this user alone: so is each file that Lockgate or a child of it creates.
    os.umask(0o077)
    sys.exit(run_app(sys.argv[1:]))


if __name__ == "__main__":
    main()
