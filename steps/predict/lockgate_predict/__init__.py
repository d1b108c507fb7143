"""Answers the test rows with the program that will serve, so that the gates judge what is served."""
