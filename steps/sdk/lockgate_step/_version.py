"""The version of Lockgate, for programs in images, where it is not installed as a package."""

VERSION = "0.1.0"  # as in pyproject.toml; a test compares them
