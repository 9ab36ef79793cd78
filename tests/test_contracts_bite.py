"""The contract kit notices each broken promise, and only that one."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import defaultdict
from importlib import util
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from rustyclaw.testing import Contract, ToolContract

SAMPLES = Path(__file__).with_name("wrong_plugins.py")
#: What tells the event loops apart runs on both, the rest of the samples on one.
SELECTION = "asyncio or Good or KnowsOneEventLoop"
INI = """\
[pytest]
addopts = -p rustyclaw.testing.plugin -p no:cacheprovider --junitxml=report.xml -q
anyio_mode = auto
xfail_strict = true
filterwarnings = error
"""


def _load() -> Any:
    spec = util.spec_from_file_location("wrong_plugins", SAMPLES)
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CONTRACTS: dict[str, Any] = {
    name: value
    for name, value in vars(_load()).items()
    if isinstance(value, type) and issubclass(value, Contract) and value.__test__
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bool]]:
    """Run all samples once, as an author would: which tests of a class failed?"""
    project = tmp_path_factory.mktemp("project")
    (project / "pytest.ini").write_text(INI, encoding="utf-8")
    shutil.copy(SAMPLES, project)
    process = subprocess.run(
        [sys.executable, "-m", "pytest", SAMPLES.name, "-k", SELECTION],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=project,
    )
    assert (project / "report.xml").exists(), process.stdout + process.stderr
    failed: dict[str, dict[str, bool]] = defaultdict(dict)
    for case in ElementTree.parse(project / "report.xml").iter("testcase"):
        name = case.attrib["classname"].rpartition(".")[2]
        bad = case.find("failure") is not None or case.find("error") is not None
        failed[name][case.attrib["name"]] = bad
    return failed


@pytest.mark.slow
def test_each_sample_is_collected_and_no_base_is(
    outcomes: dict[str, dict[str, bool]],
) -> None:
    assert set(outcomes) == set(CONTRACTS)


@pytest.mark.slow
@pytest.mark.parametrize("name", CONTRACTS)
def test_a_broken_promise_fails_its_test_and_no_other(
    name: str, outcomes: dict[str, dict[str, bool]]
) -> None:
    expected = set(CONTRACTS[name].bitten_by)
    failed = {test for test, bad in outcomes[name].items() if bad}
    assert failed == {t if "[" in t else f"{t}[asyncio]" for t in expected}


def test_the_test_of_the_tests_cannot_be_replaced() -> None:
    with pytest.raises(TypeError, match="may not replace the test of the tests"):

        class Sly(ToolContract):
            async def test_no_standard_test_is_replaced(self) -> None:
                pass
