"""`python -m bench.mailserver FOLDER`: mail servers on loopback that are quick and always well, to measure clients by.

They listen on every address, so that each of 127.0.0.0/8 is an endpoint of its own. Ports are taken from `PORTS`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

STARTTLS_PORT = 2525
IMPLICIT_PORT = 2465
SILENT_PORT = 2526  # takes connections and never says a word
_BACKLOG = 4096
_OPEN_FILES = 16384


@dataclass(frozen=True, slots=True)
class Smtp:
    """Speaks as much SMTP as clients need to see a certificate; `begins_with_tls` on an implicit port."""

    context: ssl.SSLContext
    begins_with_tls: bool = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hold one conversation."""
        with suppress(OSError, ssl.SSLError, asyncio.IncompleteReadError):
            await self._talk(reader, writer)
        writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mx1.example.com ESMTP\r\n")
        in_tls = self.begins_with_tls
        while line := await reader.readline():
            verb = line[:4].upper()
            if verb == b"QUIT":
                writer.write(b"221 2.0.0 Bye\r\n")
                return
            if verb == b"STAR":
                writer.write(b"220 2.0.0 Ready to start TLS\r\n")
                await writer.drain()
                await writer.start_tls(self.context)
                in_tls = True
            else:
                writer.write(b"250-mx1.example.com\r\n" + (b"250 SIZE\r\n" if in_tls else b"250 STARTTLS\r\n"))


async def _stay_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        await reader.read()
    writer.close()


async def _serve(folder: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "served.pem")
    servers = [
        await asyncio.start_server(Smtp(context).serve, "0.0.0.0", STARTTLS_PORT, backlog=_BACKLOG),
        await asyncio.start_server(
            Smtp(context, begins_with_tls=True).serve, "0.0.0.0", IMPLICIT_PORT, backlog=_BACKLOG, ssl=context
        ),
        await asyncio.start_server(_stay_silent, "0.0.0.0", SILENT_PORT, backlog=_BACKLOG),
    ]
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    print("ready", flush=True)
    await ended.wait()
    for server in servers:
        server.close()


def main() -> None:
    """Serve until SIGTERM."""
    asyncio.run(_serve(Path(sys.argv[1])))
    os._exit(0)


if __name__ == "__main__":
    main()
