"""Run a step: its files, its process or container, its mutexes."""
