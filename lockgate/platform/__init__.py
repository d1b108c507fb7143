"""The local platform: the supervisor, the relay, the model servers it relays to, and the store they follow."""
