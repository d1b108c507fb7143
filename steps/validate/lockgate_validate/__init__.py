"""The two gates on what goes in and what comes out: validate-data and validate-model."""
