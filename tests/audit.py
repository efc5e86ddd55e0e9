"""`make audit`: what is known of the locked packages. Writes `audit/sbom.json` and `audit/licences.csv`.

Its tools are no dependencies: uvx fetches them. Exit code 0: nothing is known against a package; 1: something
is; 3: that could not be checked, as without a registry that has the data.
"""

import csv
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCK, OUTPUT = ROOT / "requirements.lock", ROOT / "audit"
PIP_AUDIT, CYCLONEDX, PIP_LICENSES = "pip-audit>=2.10,<3", "cyclonedx-bom>=7,<8", "pip-licenses>=5,<6"
SAFE, VULNERABLE, UNKNOWN = 0, 1, 3
COPYLEFT = ("GPL", "MPL", "EUPL")  # GPL is in AGPL and LGPL


def uvx(package: str, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command of a package that is not installed."""
    uvx = Path(sys.executable).with_name("uvx")
    return subprocess.run([uvx, "--from", package, *command], cwd=ROOT, capture_output=True, text=True)


def check_vulnerabilities() -> int:
    """Print what is known against the locked packages and return the exit code."""
    # Without --strict, a package that nobody knows anything of counts as safe.
    done = uvx(PIP_AUDIT, "pip-audit", "--strict", "--disable-pip", "-r", str(LOCK), "--format", "json")
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        print(f"vulnerabilities: could not be checked, no access to the registry's data ({reason})")
        return UNKNOWN
    found = [(each, known) for each in packages for known in each["vulns"]]
    for each, known in found:
        fixed = ", ".join(known["fix_versions"]) or "no version"
        print(f"vulnerabilities: {each['name']} {each['version']} has {known['id']}, corrected in {fixed}")
    if not found:
        print(f"vulnerabilities: none is known of the {len(packages)} locked packages")
    return VULNERABLE if found else SAFE


def write_sbom() -> bool:
    """Write what the lock names as a CycloneDX bill of materials; False if that was not possible."""
    file = OUTPUT / "sbom.json"
    options = ["--pyproject", "pyproject.toml", "--output-reproducible", "--output-file", str(file)]
    done = uvx(CYCLONEDX, "cyclonedx-py", "requirements", str(LOCK), *options)
    if done.returncode:
        print(f"SBOM: could not be written ({done.stderr.strip().splitlines()[-1]})")
        return False
    n = len(json.loads(file.read_text())["components"])
    print(f"SBOM: {n} packages, {file.relative_to(ROOT)}")
    return True


def write_licences() -> bool:
    """Write the licences of the locked packages that this platform needs; False if that was not possible."""
    file = OUTPUT / "licences.csv"
    options = ["--python", sys.executable, "--from", "mixed", "--with-urls", "--format", "csv"]
    done = uvx(PIP_LICENSES, "pip-licenses", *options, "--output-file", str(file))
    if done.returncode:
        print(f"licences: could not be listed ({done.stderr.strip().splitlines()[-1]})")
        return False
    with file.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    kinds = Counter(row["License"] for row in rows)
    print(f"licences: {len(rows)} installed packages, {len(kinds)} wordings, {file.relative_to(ROOT)}")
    for row in rows:
        if any(word in row["License"] for word in COPYLEFT) or row["License"] in ("", "UNKNOWN"):
            print(f"licences: {row['Name']} {row['Version']}: {row['License'] or 'UNKNOWN'}")
    return True


def main() -> int:
    OUTPUT.mkdir(exist_ok=True)
    written = [write_sbom(), write_licences()]
    code = check_vulnerabilities()
    return code if all(written) or code == VULNERABLE else UNKNOWN


if __name__ == "__main__":
    sys.exit(main())
