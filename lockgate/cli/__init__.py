"""The command line: the verbs, their options, what they print and how they exit."""
