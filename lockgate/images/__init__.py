"""Container images and locked environments: build, pin, install, run."""
