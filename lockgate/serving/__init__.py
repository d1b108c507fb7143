"""The parts of the local platform: the relay, the model servers it relays to, the store they follow."""
