"""A step that does nothing, written with the SDK."""

from lockgate_step import main, program


@program()
def noop() -> None:
    """Do nothing."""


if __name__ == "__main__":
    main(noop)
