"""Every row of two lists of commands; nothing here is ever run.

`exec_commands.jsonl` came from outside, `judged_commands.jsonl` is our own and pins
each verdict with its rule.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rustyclaw_exec.paths import Places
from rustyclaw_exec.policy import Policy

DATA = Path(__file__).parent / "data"
TRUSTED = ("/bin", "/usr/bin", "/usr/local/bin")
NAMES = {"allow": "allowed", "ask": "needs-approval", "deny": "blocked"}


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / name).read_text().splitlines()]


CORPUS = rows("exec_commands.jsonl")
POLICIES = {
    "denylist": Policy("ask", (), TRUSTED),
    "allowlist": Policy("allowlist", ("ls", "cat", "git", "python3"), TRUSTED),
}


@pytest.mark.parametrize("mode", POLICIES)
@pytest.mark.parametrize("row", CORPUS, ids=lambda row: row["id"])
def test_corpus(row: dict[str, Any], mode: str, places: Places) -> None:
    expected = row["expect"][mode]
    verdict = POLICIES[mode].judge(row["command"], places, places.workspace)
    if expected == "any":
        assert verdict.decision in NAMES
    else:
        allowed = verdict.decision == "allow"
        assert allowed == (expected == "allowed"), verdict


@pytest.mark.parametrize("mode", POLICIES)
def test_nearly_all_verdicts_are_exactly_the_expected_ones(
    mode: str, places: Places
) -> None:
    graded = [row for row in CORPUS if row["expect"][mode] != "any"]
    exact = sum(
        NAMES[POLICIES[mode].judge(r["command"], places, places.workspace).decision]
        == r["expect"][mode]
        for r in graded
    )
    assert exact >= 0.94 * len(graded)


@pytest.mark.parametrize(
    ("home", "workspace", "state"),
    [
        ("/root", "/root/.rustyclaw/agents/main/workspace", "/root/.rustyclaw"),
        ("/root", "/tmp/t/home/agents/main/workspace", "/tmp/t/home"),
        ("/home/u", "/srv/bot/agents/main/workspace", "/srv/bot"),
        ("/Users/u", "/Users/u/.rustyclaw/agents/a/workspace", "/Users/u/.rustyclaw"),
    ],
)
def test_verdicts_do_not_depend_on_where_things_are(
    home: str, workspace: str, state: str
) -> None:
    here = Places(home=home, workspace=workspace, state=state)
    for row in CORPUS:
        for mode, policy in POLICIES.items():
            expected = row["expect"][mode]
            decision = policy.judge(row["command"], here, workspace).decision
            if expected != "any":
                assert (decision == "allow") == (expected == "allowed"), row["id"]


@pytest.mark.parametrize(
    "row", rows("judged_commands.jsonl"), ids=lambda row: ascii(row["command"])[:60]
)
def test_judged(row: dict[str, Any], places: Places) -> None:
    verdict = POLICIES["denylist"].judge(row["command"], places, places.workspace)
    assert (verdict.decision, verdict.rule) == (row["decision"], row["rule"])
