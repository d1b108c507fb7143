"""The step canary: judge a candidate by its answers to the users' requests, as often as one likes."""
