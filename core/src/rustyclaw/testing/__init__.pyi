from rustyclaw.testing.bot import Bot as Bot, make_gateway as make_gateway
from rustyclaw.testing.broken import (
    BROKEN as BROKEN,
    Expectation as Expectation,
    imported as imported,
    install_broken as install_broken,
)
from rustyclaw.testing.contracts.base import Contract as Contract
from rustyclaw.testing.contracts.channel import ChannelContract as ChannelContract
from rustyclaw.testing.contracts.compactor import CompactorContract as CompactorContract
from rustyclaw.testing.contracts.hook import HookContract as HookContract
from rustyclaw.testing.contracts.provider import ProviderContract as ProviderContract
from rustyclaw.testing.contracts.tool import (
    ToolContract as ToolContract,
    ToolsetContract as ToolsetContract,
)
from rustyclaw.testing.fakes import (
    Drafted as Drafted,
    FakeChannel as FakeChannel,
    FakeProvider as FakeProvider,
    Posted as Posted,
    call as call,
    fault as fault,
    hang as hang,
)
from rustyclaw.testing.samples import sample_arguments as sample_arguments
