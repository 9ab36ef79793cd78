"""Where an agent works: its folders, as its tools are told of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rustyclaw.interfaces.tool import ToolContext

if TYPE_CHECKING:
    from rustyclaw.agent.turn import Mind
    from rustyclaw.config import Config
    from rustyclaw.messages import HookContext


def place_of(mind: Mind, context: HookContext) -> ToolContext:
    """Return where the tools of a run work."""
    agent_id = context.agent_id
    return ToolContext(
        agent_id=agent_id,
        session_key=context.session_key,
        run_id=context.run_id,
        channel=context.channel,
        workspace=workspace_of(mind.config, mind.home, agent_id),
        agent_dir=mind.home / "agents" / agent_id,
        home=mind.home,
    )


def workspace_of(config: Config, home: Path, agent_id: str) -> Path:
    """Return the workspace folder of an agent; it need not exist yet."""
    named = config.agent(agent_id).workspace
    if named is None and agent_id == config.default_agent_id:
        named = config.agents.defaults.workspace
    if named is not None:
        return home / Path(named).expanduser()
    return home / "agents" / agent_id / "workspace"
