"""Makes the enabled plugins of a gateway, and puts each where it belongs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from rustyclaw.delivery import ChannelStatus
from rustyclaw.hooks import HookFault, Hooks, trace_call
from rustyclaw.interfaces.channel import Channel
from rustyclaw.interfaces.tool import Tool, Toolset
from rustyclaw.loading import Loader

if TYPE_CHECKING:
    from rustyclaw.discovery import Catalog
    from rustyclaw.gateway import Gateway


def load_plugins(
    gateway: Gateway, catalog: Catalog, extra: Mapping[str, object]
) -> dict[str, Channel]:
    """Make the enabled hooks, tools and channels; only required ones may not fail.

    :returns: The channels that can be started.
    :raises PluginError: A required plugin is missing or broken, or the section of a
        hook plugin is wrong.
    """
    gateway.loader = Loader(gateway.config, catalog, extra)
    gateway.hooks = _hooks(gateway)
    _add_tools(gateway)
    channels = _channels(gateway) if gateway.serving else {}
    gateway.loader.require(gateway.config.plugins.required)
    return channels


def _hooks(gateway: Gateway) -> Hooks:
    loader, policy = gateway.loader, gateway.config.plugins
    hooks = Hooks(
        order=policy.order,
        budget_seconds=policy.budget_seconds,
        fail_open=frozenset(n for n, v in policy.on_error.items() if v == "open"),
        on_fault=partial(_remember, gateway),
    )
    if os.environ.get("RUSTYCLAW_TRACE_HOOKS") == "1":
        hooks.monitor(trace_call)
    plugins = dict[str, object]()
    for name in loader.enabled("hooks"):
        # Hooks guard and serve: nobody would see that one was left out for a typo.
        with loader.tolerating("hooks", name, config=False):
            plugins[name] = loader.create("hooks", name, object)
    for name, refused in hooks.register(plugins).items():
        with loader.tolerating("hooks", name):
            raise refused
    return hooks


def _add_tools(gateway: Gateway) -> None:
    loader = gateway.loader
    for name in loader.enabled("tools"):
        with loader.tolerating("tools", name):
            brought = loader.create("tools", name, (Tool, Toolset))
            is_set = isinstance(brought, Toolset)
            for tool in brought.tools() if is_set else (brought,):
                gateway.tools.add(tool, owner=name)
        if ("tools", name) in loader.failures:  # half a toolset is none
            gateway.tools.remove(name)


def _channels(gateway: Gateway) -> dict[str, Channel]:
    loader, channels = gateway.loader, dict[str, Channel]()
    for name in loader.enabled("channels"):
        gateway.channels[name] = ChannelStatus()
        with loader.tolerating("channels", name):
            channel = loader.create("channels", name, Channel)
            channel.folder = gateway.home / "channels" / name
            for route in channel.routes():
                gateway.routes.add(route, owner=name)
            channels[name] = channel
        if failure := loader.failures.get(("channels", name)):
            gateway.channels[name] = ChannelStatus(state="failed", error=str(failure))
            gateway.routes.remove(name)
    return channels


def _remember(gateway: Gateway, fault: HookFault) -> None:
    if gateway.hooks.fault_counts[fault.plugin] <= 100:  # a flood is one fact
        gateway.spawn(gateway.state.record_fault, fault)
