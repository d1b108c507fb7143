"""Write the bill of materials (CycloneDX) of each lock to build/sbom, and look for known vulnerabilities in each.

Exceptions are in .vex/lockgate.vex.json. Without a connection to the database of vulnerabilities (osv.dev, or a copy of
its API at $LOCKGATE_OSV_URL), that part is skipped, and a notice says so.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from lockgate.images.installed import command, environment

ROOT = Path(__file__).resolve().parents[2]
SBOMS = ROOT / "build" / "sbom"
VEX = ROOT / ".vex" / "lockgate.vex.json"


def locks() -> list[Path]:
    """Return every lock of the repository."""
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    names = [name for name in tracked.split("\0") if name.endswith((".lock", "/lock.txt"))]
    return [ROOT / name for name in sorted(names)]


def excepted() -> list[str]:
    """Return the vulnerabilities that do not affect Lockgate, under each of their names."""
    statements = json.loads(VEX.read_bytes())["statements"]
    found = [each["vulnerability"] for each in statements if each["status"] == "not_affected"]
    return [name for each in found for name in (each["name"], *each.get("aliases", []))]


def tool(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one of the tools in the environment of their lock."""
    argv, env = command(environment(Path(__file__).with_name("lock.txt"), []), ["-m", module, *arguments])
    return subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, check=False)


def write_sbom(lock: Path) -> Path:
    """Write the bill of materials of a lock. Errors: RuntimeError, with the tool's last line."""
    file = SBOMS / f"{'-'.join(lock.relative_to(ROOT).with_suffix('').parts)}.cdx.json"
    done = tool("cyclonedx_py", "requirements", "--output-reproducible", "--output-file", str(file), str(lock))
    if done.returncode:
        msg = f"no SBOM of {lock.relative_to(ROOT)}: {_last(done.stderr)}"
        raise RuntimeError(msg)
    return file


def vulnerabilities(lock: Path) -> list[str] | None:
    """Return the known vulnerabilities of a lock's packages, without the exceptions; None without the database."""
    url = os.environ.get("LOCKGATE_OSV_URL")
    options = [
        "--requirement",
        str(lock),
        "--disable-pip",
        "--no-deps",
        "--vulnerability-service",
        "osv",
        "--format",
        "json",
    ]
    options += ["--osv-url", url] if url else []
    done = tool("pip_audit", *options, "--progress-spinner", "off", "--timeout", "10")
    try:
        packages: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        print(f"  {_last(done.stderr)}")
        return None
    known = set(excepted())
    return [
        f"{each['name']} {each['version']}: {found['id']} (fixed in {', '.join(found['fix_versions']) or 'no release'})"
        for each in packages
        for found in each.get("vulns", [])
        if not known & {found["id"], *found.get("aliases", [])}
    ]


def _last(text: str) -> str:
    return next((line[:300] for line in reversed(text.splitlines()) if line.strip()), "no output")


def main() -> int:
    """Write every SBOM, audit every lock; return 1 if a vulnerability was found that is not excepted."""
    SBOMS.mkdir(parents=True, exist_ok=True)
    for lock in locks():
        write_sbom(lock)
    print(f"wrote the SBOMs of {len(locks())} locks to {SBOMS.relative_to(ROOT)}")
    bad = 0
    for lock in locks():
        found = vulnerabilities(lock)
        if found is None:
            print(
                "SKIPPED: the database of vulnerabilities cannot be reached; set LOCKGATE_OSV_URL to a copy of its API"
            )
            break
        for line in found:
            print(f"{lock.relative_to(ROOT)}: {line}")
        bad += len(found)
    else:
        print(f"audited {len(locks())} locks: {bad} vulnerabilities beside the exceptions in {VEX.relative_to(ROOT)}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
