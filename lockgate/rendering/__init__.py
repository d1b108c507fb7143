"""From a model's definition to its rendered files, byte for byte."""
