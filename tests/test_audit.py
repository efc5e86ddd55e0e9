"""What `make audit` makes of its tools' answers."""

import json
from subprocess import CompletedProcess

import pytest

from tests import audit


def answer(monkeypatch, stdout, code, stderr=""):
    monkeypatch.setattr(audit, "uvx", lambda *command: CompletedProcess(command, code, stdout, stderr))


def test_what_no_registry_knows_is_not_called_safe(monkeypatch, capsys):
    answer(monkeypatch, "", 1, "Installed 29 packages\nERROR:pip_audit: numpy: Dependency not found\n")
    assert audit.check_vulnerabilities() == audit.UNKNOWN
    assert "could not be checked, no access to the registry's data (ERROR:pip_audit: numpy" in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize("known", [False, True])
def test_a_vulnerability_is_named_with_the_version_that_corrects_it(monkeypatch, capsys, known):
    vulns = [{"id": "PYSEC-1", "fix_versions": ["2.0"]}] if known else []
    packages = [{"name": "one", "version": "1.0", "vulns": vulns}]
    answer(monkeypatch, json.dumps({"dependencies": packages}), int(known))
    assert audit.check_vulnerabilities() == (audit.VULNERABLE if known else audit.SAFE)
    text = "one 1.0 has PYSEC-1, corrected in 2.0" if known else "none is known of the 1 locked packages"
    assert text in capsys.readouterr().out
