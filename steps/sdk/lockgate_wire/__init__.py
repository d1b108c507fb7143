"""What every HTTP server of Lockgate does the same way: limits of connections, host names, and logs without data.

Standard library only. The relay (aiohttp) and the model server (uvicorn) use it with their own libraries.
`metrics` names what a served model counts.
"""

from lockgate_wire._connections import BACKLOG, Connection, Connections, Limits, Phase
from lockgate_wire._hosts import Hosts
from lockgate_wire._logs import log_without_data

__all__ = ["BACKLOG", "Connection", "Connections", "Hosts", "Limits", "Phase", "log_without_data"]
