"""Execute the arguments as commands, in a local run and in a pod, so that a workflow shows what it tests."""

import json
import os
import sys
import time
from pathlib import Path

IO = Path(os.environ.get("LOCKGATE_IO", "/lockgate"))


def _file(*parts: str) -> Path:
    path = IO.joinpath(*parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def main(arguments: list[str]) -> None:
    """Execute the arguments."""
    words = iter(arguments)
    for word in words:
        match word:
            case "write":  # NAME TEXT: write an output
                _file("out", next(words)).write_text(next(words), encoding="utf-8")
            case "folder":  # NAME: create an output that is an empty folder
                _file("out", next(words)).mkdir()
            case "copy":  # NAME NAME: copy an input to an output
                source = _file("in", next(words))
                text = source.read_text(encoding="utf-8") if source.is_file() else f"no file: {source.name}"
                _file("out", next(words)).write_text(text, encoding="utf-8")
            case "list":  # NAME NAME: write the file names of an input folder to an output
                folder = _file("in", next(words))
                names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
                _file("out", next(words)).write_text(json.dumps(names), encoding="utf-8")
            case "arguments":  # ...: write all following arguments to the output `arguments`
                _file("out", "arguments").write_text(json.dumps(list(words)), encoding="utf-8")
            case "environment":  # NAME: write a variable to the output `environment`
                _file("out", "environment").write_text(os.environ.get(next(words), "(unset)"), encoding="utf-8")
            case "print":  # TEXT: print the result
                print(next(words))
            case "say":  # TEXT: write the termination message
                _file("termination").write_text(next(words), encoding="utf-8")
            case "sleep":  # SECONDS
                time.sleep(float(next(words)))
            case "fail-before":  # ATTEMPT NUMBER CODE: fail if ATTEMPT is before NUMBER
                attempt, number, code = int(next(words)), int(next(words)), int(next(words))
                if attempt < number:
                    sys.exit(code)
            case "exit":  # CODE
                sys.exit(int(next(words)))
            case _:
                sys.exit(f"unknown word {word}")


if __name__ == "__main__":
    main(sys.argv[1:])
