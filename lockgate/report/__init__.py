"""How results are shown: lines for the terminal, the live tree, and the report's pages."""
