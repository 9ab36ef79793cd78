from rustyclaw.agent.models import Model as Model
from rustyclaw.agent.recovery import is_overflow as is_overflow
from rustyclaw.approvals import Approval as Approval, Decision as Decision
from rustyclaw.cli.remote import (
    NotServed as NotServed,
    ask_gateway as ask_gateway,
    running_gateway as running_gateway,
)
from rustyclaw.config import (
    Config as Config,
    Secret as Secret,
    load_config as load_config,
)
from rustyclaw.config.edit import (
    edit_config as edit_config,
    replace_config as replace_config,
    set_config as set_config,
    unset_config as unset_config,
)
from rustyclaw.config.schema import config_schema as config_schema
from rustyclaw.errors import (
    Ask as Ask,
    Busy as Busy,
    ChannelError as ChannelError,
    ConfigError as ConfigError,
    MethodError as MethodError,
    PluginError as PluginError,
    ProviderError as ProviderError,
    RustyclawError as RustyclawError,
    SessionError as SessionError,
    StorageError as StorageError,
    ToolError as ToolError,
    Veto as Veto,
)
from rustyclaw.feed import GatewayEvent as GatewayEvent, Notice as Notice
from rustyclaw.gateway import Gateway as Gateway
from rustyclaw.hooks import HookCall as HookCall
from rustyclaw.interfaces import PluginConfig as PluginConfig
from rustyclaw.interfaces.channel import (
    Capabilities as Capabilities,
    Channel as Channel,
    ChannelConfig as ChannelConfig,
    Inbox as Inbox,
    Route as Route,
    WebRequest as WebRequest,
    WebResponse as WebResponse,
)
from rustyclaw.interfaces.compactor import (
    Compactor as Compactor,
    Summarize as Summarize,
)
from rustyclaw.interfaces.provider import (
    Provider as Provider,
    ProviderHost as ProviderHost,
    TranscriptPolicy as TranscriptPolicy,
)
from rustyclaw.interfaces.tool import (
    Effect as Effect,
    Tool as Tool,
    ToolContext as ToolContext,
    Toolset as Toolset,
    tool as tool,
)
from rustyclaw.logs import configure_logs as configure_logs
from rustyclaw.markers import hookimpl as hookimpl
from rustyclaw.messages import (
    Audio as Audio,
    CompactionRequest as CompactionRequest,
    CompactionResult as CompactionResult,
    File as File,
    Finished as Finished,
    HookContext as HookContext,
    Image as Image,
    Inbound as Inbound,
    Message as Message,
    ModelInfo as ModelInfo,
    ModelRequest as ModelRequest,
    ModelResponse as ModelResponse,
    Outbound as Outbound,
    Prompt as Prompt,
    Sender as Sender,
    Sent as Sent,
    StreamEvent as StreamEvent,
    Target as Target,
    Text as Text,
    TextDelta as TextDelta,
    Thinking as Thinking,
    ThinkingDelta as ThinkingDelta,
    ToolCall as ToolCall,
    ToolCallDelta as ToolCallDelta,
    ToolResult as ToolResult,
    ToolSchema as ToolSchema,
    Usage as Usage,
)
from rustyclaw.registry import Caller as Caller, Method as Method
from rustyclaw.runs import (
    ActiveRun as ActiveRun,
    Compacted as Compacted,
    RunEnded as RunEnded,
    RunError as RunError,
    RunEvent as RunEvent,
    RunOptions as RunOptions,
    RunRequest as RunRequest,
    RunResult as RunResult,
    RunStarted as RunStarted,
    ToolEnded as ToolEnded,
    ToolStarted as ToolStarted,
)
from rustyclaw.sessions.database import Database as Database

__version__: str
