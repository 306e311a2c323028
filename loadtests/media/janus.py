"""Janus (Debian package `janus`) under test: its EchoTest plugin sends back what it is sent.

Janus takes no loopback address, so it needs the address of a device (see namespace.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
from aiortc.rtcdtlstransport import RTCCertificate

from engine.media import codecs
from engine.media.codecs import Codec
from engine.media.interface import MediaKind
from engine.media.path import CNAME
from loadtests.bench.media_client import MediaClient
from loadtests.media import cores
from loadtests.media.child import NotHere
from loadtests.media.namespace import DEVICE
from loadtests.media.rig import Rig, video_ssrc

HTTP_PORT = 8088
# Only what the benchmarks use; what is measured are Janus's own defaults.
_JANUS = """general: {{
    configs_folder = "{folder}"
    session_timeout = 0
    debug_level = 2
    debug_colors = false
}}
nat: {{
    ice_enforce_list = "{device}"
    ice_lite = true
}}
plugins: {{ disable = "libjanus_streaming.so,libjanus_recordplay.so,libjanus_sip.so,\
libjanus_nosip.so,libjanus_audiobridge.so,libjanus_voicemail.so,libjanus_textroom.so,\
libjanus_videocall.so,libjanus_lua.so,libjanus_duktape.so" }}
transports: {{ disable = "libjanus_websockets.so,libjanus_pfunix.so,libjanus_rabbitmq.so,\
libjanus_mqtt.so,libjanus_nanomsg.so" }}
events: {{ broadcast = false }}
"""
_HTTP = """general: {{
    json = "compact"
    http = true
    port = {port}
    ip = "{host}"
    https = false
}}
admin: {{ admin_http = false }}
"""


class Janus:
    """A running server. `pid` is its process."""

    def __init__(self, pid: int, http: aiohttp.ClientSession, url: str) -> None:
        self.pid = pid
        self._http = http
        self._url = url

    async def attach(self, plugin: str) -> Handle:
        """A session of its own with a handle of `plugin`, such as "echotest"."""
        session = await self._post("", janus="create")
        path = f"/{session['data']['id']}"
        handle = await self._post(path, janus="attach", plugin=f"janus.plugin.{plugin}")
        return Handle(self, path, f"{path}/{handle['data']['id']}")

    async def _post(self, path: str, **message: Any) -> dict[str, Any]:
        message["transaction"] = secrets.token_hex(6)
        async with self._http.post(self._url + path, json=message) as response:
            return _checked(await response.json(content_type=None))

    async def _event(self, path: str) -> dict[str, Any]:
        """The next event of the session at `path`."""
        async with self._http.get(f"{self._url}{path}?maxev=1") as response:
            return _checked(await response.json(content_type=None))


class Handle:
    """A plugin's handle, and the session around it."""

    def __init__(self, janus: Janus, session: str, path: str) -> None:
        self._janus, self._session, self._path = janus, session, path

    async def say(
        self, body: dict[str, Any], jsep: dict[str, str] | None = None
    ) -> tuple[dict[str, Any], str]:
        """The plugin's answer to a message and the SDP that came with it, if any."""
        message: dict[str, Any] = {"janus": "message", "body": body}
        if jsep is not None:
            message["jsep"] = jsep
        reply = await self._janus._post(self._path, **message)
        async with asyncio.timeout(10):
            while "plugindata" not in reply:
                reply = await self._janus._event(self._session)
        data: dict[str, Any] = reply["plugindata"]["data"]
        if "error" in data:
            raise RuntimeError(f"Janus: {data['error']}")
        return data, reply.get("jsep", {}).get("sdp", "")

    async def until(self, event: str) -> None:
        """Wait for an event such as "webrtcup", which says that DTLS is done."""
        async with asyncio.timeout(20):
            while (await self._janus._event(self._session))["janus"] != event:
                pass


def _checked(reply: dict[str, Any]) -> dict[str, Any]:
    if reply.get("janus") == "error":
        raise RuntimeError(f"Janus: {reply['error']['reason']}")
    return reply


@contextlib.asynccontextmanager
async def janus(host: str) -> AsyncIterator[Janus]:
    """Janus on the server's core. Raises `NotHere` if it is not installed or has no device."""
    program = shutil.which("janus")
    if program is None:
        raise NotHere("Janus is not installed (Debian: janus)")
    if host.startswith("127."):
        raise NotHere("Janus needs an address of its own: a network namespace")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "janus.jcfg").write_text(_JANUS.format(folder=folder, device=DEVICE))
        (Path(folder) / "janus.transport.http.jcfg").write_text(
            _HTTP.format(port=HTTP_PORT, host=host)
        )
        with cores.pinned(cores.SERVER):
            process = await asyncio.create_subprocess_exec(
                *(program, "-F", folder, "-i", DEVICE), stdout=asyncio.subprocess.DEVNULL
            )
        try:
            url = f"http://{host}:{HTTP_PORT}/janus"
            async with aiohttp.ClientSession() as http:
                await _until_it_listens(http, url)
                yield Janus(process.pid, http, url)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def _until_it_listens(http: aiohttp.ClientSession, url: str) -> None:
    async with asyncio.timeout(15):
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                async with http.get(f"{url}/info"):
                    return
            await asyncio.sleep(0.1)


@contextlib.asynccontextmanager
async def echo(host: str, legs: int) -> AsyncIterator[Rig]:
    """`legs` EchoTest sessions: each leg gets back what it sends. Raises `NotHere`."""
    async with janus(host) as server:
        certificate = RTCCertificate.generateCertificate()
        with contextlib.ExitStack() as sockets:
            clients = []
            for leg in range(legs):
                client = MediaClient(certificate=certificate)
                clients.append(client)
                sockets.enter_context(client.sock)
                client.sock.bind((host, 0))
                await _connect(await server.attach("echotest"), client, video_ssrc(leg))
            pairs = [(leg, leg) for leg in range(legs)]
            yield Rig(clients, pairs, pid=server.pid, acks=True)


async def _connect(handle: Handle, client: MediaClient, ssrc: int) -> None:
    jsep = {"type": "offer", "sdp": _offer(client, ssrc)}
    _, answer = await handle.say({"audio": True, "video": True}, jsep)
    client.meet(answer)
    await client.connect()


def _offer(client: MediaClient, ssrc: int) -> str:
    """Audio and video; unlike the engine, Janus must know address and SSRCs beforehand."""
    lines = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=group:BUNDLE 0 1"]
    lines += _section(client, codecs.OPUS, ssrc + 1) + _section(client, codecs.VP8, ssrc)
    return "\r\n".join(lines) + "\r\n"


def _section(client: MediaClient, codec: Codec, ssrc: int) -> list[str]:
    host, port = client.sock.getsockname()
    extension = codecs.TRANSPORT_CC_EXTENSION
    video = codec.kind is MediaKind.VIDEO
    ways = codecs.VIDEO_FEEDBACK if video else codecs.AUDIO_FEEDBACK
    return [
        f"m={codec.kind} 9 UDP/TLS/RTP/SAVPF {codec.payload_type}",
        *("c=IN IP4 0.0.0.0", f"a=mid:{codecs.MIDS[codec.kind]}"),
        *client.transport_lines(),
        *(f"a=candidate:1 1 udp 2130706431 {host} {port} typ host", "a=end-of-candidates"),
        f"a=extmap:{extension} {codecs.EXTENSION_URIS[extension]}",
        f"a=rtpmap:{codec.payload_type} {codec.encoding}",
        *(f"a=rtcp-fb:{codec.payload_type} {way}" for way in ways),
        f"a=ssrc:{ssrc} cname:{CNAME}",
    ]
