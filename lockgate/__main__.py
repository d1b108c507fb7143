"""The command `lockgate`; with `lockgate.cli` the only code that prints or exits."""

import sys


def main() -> None:
    """Run the command line."""
    from lockgate.cli.main import run_app

    sys.exit(run_app(sys.argv[1:]))


if __name__ == "__main__":
    main()
