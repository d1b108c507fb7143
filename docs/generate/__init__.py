"""The parts of the documentation that are generated from the code, so that they are written once."""
