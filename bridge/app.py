"""The composition root: the only place that knows everyone. Starts, reloads, answers for its health, stops.

A stop without warning is the normal stop (platforms kill after 0 to 30 s): everything that matters is in the store, and
a clean stop only saves the next start some work.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Literal

import aiohttp
from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from bridge import __version__, observe
from bridge import config as configuration
from bridge.config import Config
from bridge.deliver import Couriers, Shown
from bridge.destinations import DESTINATIONS
from bridge.destinations.base import Health
from bridge.door import Door, admit, as_problem, problem
from bridge.errors import ConfigError, StoreUnavailable
from bridge.keys import PublishedKeys
from bridge.lookups import LOOKUPS
from bridge.observe import log
from bridge.occasions import Occasions
from bridge.receive import READ_WITHIN, Deciding, Receiver
from bridge.render import Renderer
from bridge.sources import SOURCES
from bridge.store import DEFAULT_URL, engine, open_store
from bridge.store.base import Store
from bridge.tally import Tallies
from bridge.web import Feed, add_routes
from bridge.web.feed import Bubble

Role = Literal["all", "web", "worker"]

HEADERS_WITHIN = timedelta(seconds=30)  # aiohttp's keep-alive time is also how long it waits for a request's headers
SHUTDOWN_WITHIN = 2.0  # seconds for open connections; together with the couriers' time well under 10
ABANDON_AFTER = 8.5  # seconds after the stop began: 10 are promised
LEAD_EVERY = timedelta(seconds=2)  # how soon another worker takes over from a leader that is gone
PURGE_EVERY = timedelta(minutes=5)
PURGE_SLICES = 2_000
TELL_EVERY = 30.0  # seconds; how soon a digest is told after its time, and the end of a mute
LOOK_EVERY = 1.0  # seconds; how soon a changed configuration is seen
COLLECTING = (20_000, 10, 10)  # objects: ten times what Python itself takes, for 3 MB and a twentieth of the time
ORPHANS_KEPT = timedelta(hours=24)  # how long deliveries wait for a destination that the configuration lost


def utc_now() -> datetime:
    return datetime.now(UTC)


class Bridge:
    """A whole bridge in one process, until `stop`.

    `config_path` and `environ` are kept: a reload reads the same places again.
    """

    def __init__(
        self,
        config: Config,
        *,
        config_path: str | None = None,
        environ: Mapping[str, str] | None = None,
        role: Role = "all",
        unlocked: bool = False,
        now: Callable[[], datetime] = utc_now,
        headers_within: timedelta = HEADERS_WITHIN,
        read_within: timedelta = READ_WITHIN,
    ) -> None:
        self.config = config
        self.feed = Feed()
        self._config_path = config_path
        self._environ = dict(environ or {})
        self._role = role
        self._unlocked = unlocked
        self._now = now
        self._headers_within = headers_within
        self._read_within = read_within
        self._renderer = Renderer(config.templates)
        self._deciding = Deciding(config.rules)
        self._leading = False
        self._reloading = asyncio.Lock()
        self._files = self._look()  # as they were when `config` was read, or very soon after
        self._tasks: set[asyncio.Task[None]] = set()
        self._store: Store | None = None
        self._session: aiohttp.ClientSession | None = None
        self._couriers: Couriers | None = None
        self._tallies: Tallies | None = None
        self._keys: PublishedKeys | None = None
        self._runner: web.AppRunner | None = None
        self._listening: asyncio.Server | None = None
        self.port = 0

    # -- starting and stopping -----------------------------------------------------------------------------------------

    async def start(self, host: str, port: int) -> None:
        """Open the store, start the couriers and listen; raise StoreUnavailable, ConfigError or OSError."""
        _import_named(self.config)
        store = await open_store(self._environ.get("DATABASE_URL") or DEFAULT_URL, worker=self._role != "web")
        self._store = store
        observe.build_info.labels(__version__).set(1)
        self._loaded(ok=True)
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60, connect=10))
        if self._role != "worker":
            self._keys = PublishedKeys(self._session)
            self._background(self._keys.keep(lambda: self.config))
        if self._role != "web":
            self._couriers = Couriers(
                store,
                self._session,
                lambda: self.config,
                lambda: self._renderer,
                now=self._now,
                shown=self._show,
            )
            await self._couriers.follow(self.config)
            await self._try_to_lead(store)
            self._background(self._lead_forever(store))
        self._runner = web.AppRunner(self._application(store), shutdown_timeout=SHUTDOWN_WITHIN)
        await self._runner.setup()
        self._listening = await self._listen(self._runner, host, port)
        self.port = self._listening.sockets[0].getsockname()[1]

    async def _listen(self, runner: web.AppRunner, host: str, port: int) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        if runner.server is None:
            raise RuntimeError("the runner is not set up")
        runner.server.request_handler = admit(runner.server.request_handler)
        door = partial(
            Door,
            runner.server,
            loop=loop,
            access_log=None,  # type: ignore[arg-type] # documented as "none"; it costs as much as all the rest
            auto_decompress=False,  # senders sign raw bytes, and inflating blocks the loop
            keepalive_timeout=self._headers_within.total_seconds(),
            lingering_time=SHUTDOWN_WITHIN,
        )
        return await loop.create_server(door, host, port, backlog=1024)

    async def stop(self) -> None:
        """Stop accepting, let what is in flight end, close the store."""
        self.feed.close()
        # A database that is silent must not make this the platform's kill: what is owed is in it anyway.
        last = asyncio.get_running_loop().call_later(ABANDON_AFTER, self._abandon)
        if self._listening is not None:
            self._listening.close()
        if self._runner is not None:
            await self._runner.cleanup()
        for task in self._tasks:
            task.cancel()
        ending: list[Awaitable[object]] = [asyncio.gather(*self._tasks, return_exceptions=True)]
        if self._tallies is not None:
            ending.append(self._tallies.stop())
        await asyncio.gather(*ending, *([self._couriers.stop()] if self._couriers is not None else []))
        if self._keys is not None:
            await self._keys.stop()
        if self._session is not None:
            await self._session.close()
        if self._store is not None:
            await self._store.close()
        last.cancel()

    def _abandon(self) -> None:
        log.warning("store.abandoned")
        if self._store is not None:
            self._store.abandon()

    def _background(self, work: Awaitable[None]) -> None:
        async def run() -> None:
            await work

        task = asyncio.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("background.failed", error=type(error).__name__, exc_info=error)

    # -- the routes ----------------------------------------------------------------------------------------------------

    def _application(self, store: Store) -> web.Application:
        app = web.Application(middlewares=[_errors])
        app.on_response_prepare.append(_name_server)
        app.router.add_get("/health/live", _live)
        app.router.add_get("/health/ready", self._ready)
        app.router.add_get("/metrics", self._metrics)
        if self._role != "worker":
            self._tallies = tallies = Tallies(store, self._now)
            receiver = Receiver(
                store, lambda: self.config, lambda: self._deciding, self._now, tallies, self._read_within, self._keys
            )
            app.router.add_post("/webhooks/{source}", receiver.handle)
            app.router.add_post("/webhooks/{source}/", receiver.handle)  # addresses are pasted with and without
            app.router.add_post("/webhooks/{source}/{token}", receiver.handle)  # for senders that can send nothing else
        add_routes(
            app,
            self.feed,
            token=self._environ.get("BRIDGE_ADMIN_TOKEN") or None,
            unlocked=self._unlocked,
            mutes=lambda: store.mutes(self._now()),
        )
        return app

    async def _ready(self, _request: web.Request) -> web.Response:
        try:
            async with asyncio.timeout(5):
                await self._require_store().ready()
                known = await self._require_store().conditions()
        except (StoreUnavailable, TimeoutError):
            return web.json_response({"status": "not ready", "reason": "the store takes no writes"}, status=503)
        # A chat that is down is no reason to take this process away. How many, and not which: strangers may ask.
        down = sum(not one.ok for name, one in known.items() if name in self.config.destinations)
        return web.json_response({"status": "ready"} | ({"destinations_down": down} if down else {}))

    async def _metrics(self, _request: web.Request) -> web.Response:
        try:
            depths = await self._require_store().depths()
        except StoreUnavailable:
            depths = {}
        now = self._now()
        for name in {*self.config.destinations, *depths}:
            depth = depths.get(name)
            age = max(0.0, (now - depth.oldest).total_seconds()) if depth and depth.oldest else 0.0
            observe.queue_pending.labels(name).set(depth.waiting if depth else 0)
            observe.queue_oldest_age.labels(name).set(age)
            observe.queue_dead.labels(name).set(depth.dead if depth else 0)
        # Always the plain form: prometheus_client's own handler breaks on an Accept header with an odd version.
        response = web.Response(
            body=generate_latest(observe.registry), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4}
        )
        response.enable_compression()
        return response

    def _require_store(self) -> Store:
        if self._store is None:
            raise StoreUnavailable("not open yet")
        return self._store

    def _show(self, shown: Shown) -> None:
        claimed = shown.claimed
        event = claimed.event
        living = claimed.target.live and claimed.run is not None
        key = f"{claimed.run.key}|{claimed.target.key}" if living and claimed.run else claimed.id
        self.feed.publish(
            Bubble(
                key=key,
                destination=shown.destination,
                integration=shown.integration,
                message=shown.message,
                posted_at=shown.at,
                changed_at=shown.at,
                edits=0,
                thread=bool(claimed.root) and not living,
                event_id=event.id or "",
                delivery_id=claimed.id,
                repository=event.repository,
                rules=claimed.target.rules,
            )
        )

    # -- keeping on ----------------------------------------------------------------------------------------------------

    async def reload(self) -> bool:
        """Read the configuration again. A bad one changes nothing: the running one stays, and the log says why."""
        async with self._reloading:
            self._files = self._look()
            try:
                config, renderer = await asyncio.to_thread(self._read)
            except ConfigError as error:
                for found in error.problems:
                    if not found.warning:
                        log.error("config.refused", problem=str(found))
                self._loaded(ok=False)
                return False
            before = self.secrets()
            self.config = config
            self._renderer = renderer
            self._deciding = Deciding(config.rules)
            # What is in flight may still speak of the old secrets.
            known = before | self.secrets()
            observe.configure(self._environ.get("LOG_FORMAT"), self._environ.get("LOG_LEVEL", "info"), known)
            if self._couriers is not None:
                await self._couriers.follow(config)
            self._loaded(ok=True)
            log.info("config.loaded", file=config.file, rules=len(config.rules))
            return True

    def _read(self) -> tuple[Config, Renderer]:
        """Return the configuration as it is now, and all that takes long made of it: this runs in a thread."""
        config = configuration.load(self._config_path, self._environ)
        _import_named(config)
        renderer = Renderer(config.templates)
        if self._role != "web":
            renderer.prepare()
        return config, renderer

    async def prepare(self) -> None:
        """Do what the first message would wait for, beside the first events."""
        if self._role != "web":
            await asyncio.to_thread(self._renderer.prepare)

    def secrets(self) -> frozenset[str]:
        """Return every secret that must not be shown."""
        return self.config.secrets | {value for value in (self._environ.get("BRIDGE_ADMIN_TOKEN"),) if value}

    def _loaded(self, *, ok: bool) -> None:
        observe.config_reload_successful.set(int(ok))
        if ok:
            observe.config_reload_time.set(self._now().timestamp())

    def _look(self) -> dict[Path, tuple[int, int, int] | None]:
        return _marks(configuration.watched_paths(self._config_path, self._environ))

    def watch(self) -> None:
        """Reload whenever the configuration's files change."""
        self._background(self._watch_forever())

    async def _watch_forever(self) -> None:
        # Asked, not told: a watched folder would report every write of a database beside the configuration, which took
        # a twentieth of what an event costs; and no network's file system, and no mounted file, tells of changes.
        while True:
            await asyncio.sleep(LOOK_EVERY)
            if await asyncio.to_thread(self._look) != self._files:
                await self.reload()

    async def _try_to_lead(self, store: Store) -> None:
        """Ask whether the timers are this process's task; a new leader routes at once what could not be."""
        led = self._leading
        self._leading = False  # should the store not answer
        try:
            self._leading = await store.lead()
        finally:
            observe.leader.set(int(self._leading))
        if self._leading and not led:
            await store.route_stuck(self._deciding)

    async def _lead_forever(self, store: Store) -> None:
        purge_at = time.monotonic() + PURGE_EVERY.total_seconds()
        tell_at = time.monotonic()
        occasions = Occasions(store, lambda: self.config, self._now)
        while True:
            await asyncio.sleep(LEAD_EVERY.total_seconds())
            try:
                await self._try_to_lead(store)
                if self._leading and time.monotonic() >= tell_at:
                    tell_at = time.monotonic() + TELL_EVERY
                    await occasions.tell()
                if self._leading and time.monotonic() >= purge_at:
                    purge_at = time.monotonic() + PURGE_EVERY.total_seconds()
                    await self._tidy(store)
            except StoreUnavailable as error:
                log.warning("store.unavailable", error=str(error))
            except Exception as error:  # a bug: should this end, nobody else would lead as long as we live
                log.error("timers.failed", error=type(error).__name__, exc_info=True)

    async def _tidy(self, store: Store) -> None:
        now = self._now()
        await store.route_stuck(self._deciding)
        await store.bury(tuple(self.config.destinations), now - ORPHANS_KEPT, now)
        for _ in range(PURGE_SLICES):
            if not await store.purge(now - self.config.server.retention, 500):
                break
            await asyncio.sleep(0)  # a webhook that has come meanwhile goes first

    # -- what to tell at start -----------------------------------------------------------------------------------------

    def addresses(self) -> list[str]:
        """Return, per source, the address to give to the sender and where to click."""
        if self._role == "worker":
            return []
        base = (self.config.server.public_url or f"http://localhost:{self.port}").rstrip("/")
        lines = []
        for source in self.config.sources.values():
            module = source.module
            url = f"{base}/webhooks/{source.name}"
            warning = "  WARNING: unsigned, anybody who knows the address can send events\n" if source.unsigned else ""
            lines.append(f"{module.LABEL} sends to  {url}\n{warning}  {module.SETUP.format(url=url)}")
        return lines

    def describe_part(self) -> str:
        """Return what this process does and where its memory is, without an address: it may hold a password."""
        part = {"all": "takes webhooks and delivers", "web": "takes webhooks", "worker": "delivers"}[self._role]
        return f"it {part}; its memory is {engine(self._environ.get('DATABASE_URL') or DEFAULT_URL)}"

    async def health(self) -> dict[str, Health]:
        """Ask every destination whether it answers."""
        return await self._couriers.check() if self._couriers is not None else {}

    async def describe_keys(self) -> list[str]:
        """Return, per source whose public key is fetched, whether it could be, in plain words."""
        if self._keys is None:
            return []
        fetched = [source for source in self.config.sources.values() if source.publishes]
        health = [(source, await self._keys.check(source)) for source in fetched]
        return [
            f"{source.name} ({source.module.LABEL}): {'ok' if answer.ok else 'WAITS'}, {answer.text}"
            for source, answer in health
        ]

    def describe(self, health: Mapping[str, Health]) -> list[str]:
        """Return, per destination, whether it answers, in plain words."""
        lines = []
        for name, answer in health.items():
            state = {True: "ok", False: "DOES NOT ANSWER", None: "not asked"}[answer.ok]
            label = DESTINATIONS[self.config.destinations[name].type].LABEL
            lines.append(f"{name} ({label}): {state}, {answer.text}")
        return lines


def _import_named(config: Config) -> None:
    """Import the sources that are configured before the first of them waits for an answer."""
    types = {source.type for source in config.sources.values()}
    SOURCES.load(types)
    LOOKUPS.load(types)


def _marks(paths: Iterable[Path]) -> dict[Path, tuple[int, int, int] | None]:
    """Return what tells one state of the files from another; None for one that is not there."""
    within = [inner for path in paths if path.is_dir() for inner in path.rglob("*")]
    return {path: _mark(path) for path in (*paths, *within)}


def _mark(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


async def _live(_request: web.Request) -> web.Response:
    return web.json_response({"status": "live"})


@web.middleware
async def _errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Answer in one form; a bug is logged with its traceback and is the only way to a 500."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return as_problem(error)
    except (ConnectionResetError, asyncio.CancelledError):
        raise
    except Exception as error:
        log.error("request.failed", path=_route_of(request), error=type(error).__name__, exc_info=True)
        return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "a bug: it is logged")


def _route_of(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "?"


async def _name_server(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = "bridge"


async def serve(bridge: Bridge, host: str, port: int, *, say: Callable[[str], None]) -> None:
    """Run `bridge` until SIGTERM or SIGINT; SIGHUP and changed files reload."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    reloads: set[asyncio.Task[bool]] = set()

    def hang_up() -> None:
        task = asyncio.create_task(bridge.reload())
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    loop.add_signal_handler(signal.SIGHUP, hang_up)
    started = time.perf_counter()
    try:
        await bridge.start(host, port)
        bridge.watch()
        log.info(
            "bridge.started", port=bridge.port, seconds=round(time.perf_counter() - started, 3), version=__version__
        )
        say(f"bridge {__version__} listens on http://{host}:{bridge.port}")
        say(f"{bridge.describe_part()}\n")
        for text in bridge.addresses():
            say(text)
        say("")
        beside = [asyncio.create_task(work) for work in (_tell_health(bridge, say), _settle(bridge))]
        await stopping.wait()
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, *reloads, return_exceptions=True)
        say("stopping: what is in flight ends, the rest stays in the database")
    finally:
        await bridge.stop()
    log.info("bridge.stopped")


async def _settle(bridge: Bridge) -> None:
    """Get ready for the first message; then let Python look for garbage again, only among what comes from now on.

    The 60,000 objects of a start stay as long as the process: going through them takes 70 ms, and nobody is answered.
    """
    await bridge.prepare()
    gc.freeze()
    gc.set_threshold(*COLLECTING)


async def _tell_health(bridge: Bridge, say: Callable[[str], None]) -> None:
    for text in bridge.describe(await bridge.health()):
        say(text)
    for text in await bridge.describe_keys():
        say(text)
