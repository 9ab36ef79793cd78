"""Every rule by name. The first word of an id is its category.

``deny`` is never run; ``ask`` is run if an operator says yes to this very command.
"""

from __future__ import annotations

from rustyclaw_exec.verdict import Rule

# --- Text that cannot be trusted or read --------------------------------------

SPOOFED = Rule("text.spoofed", "ask", "holds characters that hide or imitate others")
NUL = Rule("text.nul", "deny", "holds a NUL, which no command can")
UNPARSABLE = Rule("text.unparsable", "ask", "cannot be read with certainty")
TOO_COMPLEX = Rule("text.complex", "ask", "is too long or too nested to judge")

# --- What runs is decided only when it runs -----------------------------------

DYNAMIC_COMMAND = Rule("dynamic.command", "ask", "what runs is decided at run time")
DYNAMIC_SCRIPT = Rule("dynamic.script", "ask", "runs text that is not known yet")
DYNAMIC_CODE = Rule("dynamic.code", "ask", "inline code that is not plainly harmless")
DYNAMIC_OPTION = Rule("dynamic.option", "ask", "an option makes it run a program")
LOADER = Rule("dynamic.loader", "ask", "starts a program behind another one's back")
REBOUND = Rule("dynamic.rebound", "ask", "changes which program a name means")
LOADED = Rule("dynamic.environment", "ask", "a variable makes programs load code")

# --- Destruction --------------------------------------------------------------

DESTROY_TREE = Rule(
    "destroy.tree", "deny", "destroys a root, home, system or parent folder"
)
DESTROY_SYSTEM_FILE = Rule("destroy.system", "deny", "changes a file of the system")
DESTROY_WORKSPACE = Rule("destroy.workspace", "deny", "deletes the whole workspace")
DESTROY_EVERYTHING = Rule("destroy.sweep", "ask", "deletes everything in a folder")
DESTROY_OUTSIDE = Rule("destroy.outside", "ask", "deletes files of its owner")
DESTROY_UNKNOWN = Rule("destroy.unknown", "ask", "deletes a tree that is not known")
WRITE_OUTSIDE = Rule("destroy.write", "ask", "writes outside of the user's own files")
DISK_WRITE = Rule("disk.write", "deny", "writes to a raw device")
DISK_TOOL = Rule("disk.tool", "deny", "formats or repartitions a disk")
DISK_READ = Rule("disk.read", "ask", "reads a raw device")

# --- The system and its privileges --------------------------------------------

POWER = Rule("system.power", "deny", "stops or restarts the machine")
KERNEL = Rule("system.kernel", "deny", "changes the running kernel")
KILL_ALL = Rule("system.kill", "deny", "ends processes that are not its own")
KILL_MANY = Rule("system.kill-many", "ask", "may end the gateway or many processes")
FORK_BOMB = Rule("system.fork-bomb", "deny", "is a fork bomb")
FIREWALL = Rule("system.firewall", "deny", "changes the firewall or the network")
ACCOUNTS = Rule("system.accounts", "deny", "changes accounts or passwords")
MOUNT = Rule("system.mount", "deny", "mounts, unmounts or swaps")
SETTINGS = Rule("system.settings", "deny", "changes settings of the machine")
SERVICE = Rule("system.service", "ask", "starts or stops a service")
PACKAGES = Rule("system.packages", "ask", "changes the packages of the machine")
LOGS = Rule("system.logs", "ask", "covers its own tracks")
PERMISSIONS = Rule("system.permissions", "deny", "opens up folders of the system")
WORLD_WRITABLE = Rule("system.writable", "ask", "lets everybody write to a tree")
PRIVILEGE = Rule("privilege.escalate", "deny", "runs with another user's rights")
SETUID = Rule("privilege.setuid", "deny", "gives a file its owner's rights")

# --- Persistence --------------------------------------------------------------

STARTUP_FILE = Rule("persist.file", "deny", "writes what runs by itself later")
SCHEDULE = Rule("persist.schedule", "deny", "schedules commands for later")
START_SERVICE = Rule("persist.service", "deny", "installs or disables a service")
GIT_GLOBAL = Rule("persist.git", "deny", "makes git run programs everywhere")
GIT_HOOK = Rule("persist.hook", "ask", "changes what git runs in this repository")

# --- Code from elsewhere, data to elsewhere -----------------------------------

REMOTE_CODE = Rule("remote.code", "deny", "runs what it has just downloaded")
REMOTE_PACKAGE = Rule("remote.package", "ask", "installs or runs code from an address")
EXFILTRATION = Rule("exfil.secret", "deny", "sends credentials away")
REMOTE_SHELL = Rule("exfil.shell", "deny", "gives a shell to another machine")
LISTENER = Rule("exfil.listener", "deny", "listens for connections")
UPLOAD = Rule("exfil.upload", "ask", "sends data to another machine")
ADDRESS_LEAK = Rule("exfil.address", "ask", "puts output of a command in an address")
TUNNEL = Rule("exfil.tunnel", "ask", "opens a tunnel to another machine")
SECRET_READ = Rule("secret.read", "ask", "touches credentials")
SECRET_TREE = Rule("secret.tree", "ask", "reads a tree that holds credentials")
SECRET_VARIABLE = Rule("secret.variable", "ask", "uses a variable named like a secret")

# --- The gateway and what is beyond it ----------------------------------------

STATE_WRITE = Rule("control.state", "deny", "changes the gateway's own files")
GATEWAY = Rule("control.gateway", "ask", "controls the gateway")
GATEWAY_PORT = Rule("control.port", "deny", "talks to the gateway behind its back")
METADATA = Rule("control.metadata", "deny", "asks the cloud for this machine's keys")
CONTAINER = Rule("control.container", "deny", "breaks out of a container")
TRACE = Rule("control.trace", "ask", "looks into or changes a running process")

# --- Modes --------------------------------------------------------------------

NOT_LISTED = Rule("mode.allowlist", "ask", "is not on the list of allowed commands")
SWITCHED_OFF = Rule("mode.deny", "deny", "the exec tool is switched off")

#: All rules, by id.
RULES = {rule.id: rule for rule in list(globals().values()) if isinstance(rule, Rule)}
