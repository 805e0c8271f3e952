# SPDX-License-Identifier: GPL-2.0-or-later
"""The client's page on the machine's own loopback: listens on a socket made outside, connects to the
same port inside the host whose network namespace this process has entered."""
import asyncio


def serve(listener, port):
    asyncio.run(forward(listener, port))


async def forward(listener, port):
    async def pump(reader, writer):
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
            writer.write_eof()
        except OSError:
            pass

    async def on_visitor(reader, writer):
        try:
            r, w = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.close()  # the gateway is not up
            return
        await asyncio.gather(pump(reader, w), pump(r, writer))
        w.close()
        writer.close()

    server = await asyncio.start_server(on_visitor, sock=listener)
    await server.serve_forever()
