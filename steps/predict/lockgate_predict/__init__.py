"""Answers the test rows with the program that will serve, so that what is judged is what is served."""
