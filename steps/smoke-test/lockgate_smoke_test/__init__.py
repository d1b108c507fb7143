"""The step smoke-test: send valid and invalid requests to a deployed version at its own address."""
