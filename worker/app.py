"""The composition root: the one place that wires a worker process together."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import uuid
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, NamedTuple

from config.process import ledger_url, login_key_file
from config.settings import sender_allowed
from producers.addresses import parse_address
from producers.embedded import SCHEME, inbox_path
from producers.envelope import decode
from producers.inbox import Inbox
from producers.topology import Topology
from worker.actors import DEAD_ACTOR, Actors
from worker.auth.opening import open_tokens
from worker.broker.broker import PostmeterBroker
from worker.broker.events import EventPublisher, NullPublisher
from worker.broker.intake import Intake as Switch
from worker.broker.launcher import WorkerProcess, signals
from worker.broker.sources import inbox_source, ledger_source, rabbitmq_source
from worker.broker.waiting import LEDGER_QUEUE
from worker.bystander import Bystander
from worker.capacity import Capacity
from worker.composing import Composer
from worker.delivery import Tools
from worker.errors import LedgerUnavailable, LedgerUnusable
from worker.faults import Faults
from worker.heartbeat import Heartbeat
from worker.holding import Holding, outdated
from worker.intake import Gate, Intake
from worker.kin import has_ended, name_of_this_process
from worker.leases import ConnectionLeases
from worker.ledger import holds, workers
from worker.ledger.opening import open_ledger
from worker.outage import Outage
from worker.pump import Pump, Source
from worker.shortcut import PREFETCH, Shortcut
from worker.telemetry.events import EventPump
from worker.telemetry.instruments import note_connections
from worker.telemetry.logs import get_logger
from worker.telemetry.report import Reporter
from worker.transports.opening import Transports
from worker.unserved import WAIT_FOR_SETTINGS_SECONDS, Explainer
from worker.upkeep import Chores, Upkeep, beat

if TYPE_CHECKING:
    from collections.abc import Callable

    from config.effective import EffectiveSettings
    from config.process import ProcessSettings
    from config.watcher import SettingsWatcher
    from producers.job import Job
    from worker.broker.broker import Source as MessageSource
    from worker.broker.events import Publisher
    from worker.ledger.ledger import Ledger

CONFIRM_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Tuning:
    """What tests shorten; a worker in service uses the values below."""

    window_seconds: float = 60.0
    wait_for_settings_seconds: float = WAIT_FOR_SETTINGS_SECONDS


class Identity(NamedTuple):
    """Who this process is in the ledger."""

    worker: str
    host: str
    pid: int

    @classmethod
    def new(cls) -> Identity:
        """A name that no worker had before."""
        host = socket.gethostname()[:200]
        return cls(f"{host[:30]}-{os.getpid()}-{uuid.uuid4().hex[:8]}", host, os.getpid())


def new_token() -> str:
    """A name for one attempt that no other has."""
    return uuid.uuid4().hex


def sender_refused(job: Job, settings: EffectiveSettings) -> str | None:
    """Why this job's sender may not send, or None."""
    if job.sender is None:
        if settings.address is None:
            return f"no sender: the job names none, and {settings.account} has no address"
        return None
    address = parse_address(job.sender)[1]
    if sender_allowed(settings, address):
        return None
    domain = address.rpartition("@")[2]
    return (
        f"sender not allowed: an address at {domain} is not in allowed_from of {settings.account}"
    )


class App:
    """One worker process, wired; ``run`` works until it is told to stop."""

    def __init__(
        self,
        process: ProcessSettings,
        watcher: SettingsWatcher,
        ledger: Ledger,
        tuning: Tuning,
    ) -> None:
        self._process_settings = process
        self._watcher = watcher
        self._ledger = ledger
        self._log = get_logger("postmeter.worker")
        self._identity = Identity.new()
        self._loop = asyncio.get_running_loop()
        self._heartbeat = Heartbeat()
        self._switch = Switch()
        self._topology = Topology(process.queue_prefix, process.queue_type)
        self._capacity = Capacity()
        self._outage = Outage(
            loop=self._loop,
            suspend=self._suspend,
            resume=self._resume,
            attempt=lambda: beat(self._chores),
            log=self._log,
        )
        worker = self._identity.worker
        self._tokens = open_tokens(ledger, login_key_file(process))
        self._transports = Transports(
            ledger,
            self._tokens,
            ConnectionLeases(ledger, worker, new_token),
            may_end=self._heartbeat.is_sure,
        )
        report = Reporter()
        tell_of = Bystander(ledger, report)
        self._tools = Tools(
            ledger=ledger,
            transports=self._transports.by_name,
            render=Composer(process.attachments),
            sender_refused=sender_refused,
            random=random.random,
            report=report,
            on_fault=self._on_fault,
        )
        self._holding, faults = Holding(), Faults(self._log)
        holding = self._holding
        explainer = Explainer(
            ledger, self._resolve, tell_of, wait_seconds=tuning.wait_for_settings_seconds
        )
        self._pump = Pump(
            Source(
                ledger=ledger,
                worker=worker,
                resolve=self._resolve,
                lead_seconds=self._transports.lead_seconds,
                holding=holding,
                capacity=self._capacity,
                new_token=new_token,
                explain=lambda lane, *_why: explainer.note(lane),
                on_unavailable=self._outage.begin,
                faults=faults,
                window_seconds=tuning.window_seconds,
                settings_in_force=lambda: self._watcher.current,
            )
        )
        gate = Gate(self._resolve, holding, self._capacity, Shortcut(), new_token, faults)
        self._intake = Intake(self._tools, gate, self._pump, worker)
        self._actors = Actors(self._tools, self._intake, self._topology, worker, decode)
        self._broker = PostmeterBroker(self._sources(), intake=self._switch)
        self._actors.register(self._broker)
        self._publisher = self._open_publisher()
        self._events = EventPump(ledger, self._publisher)
        self._chores = Chores(
            ledger=ledger,
            worker=worker,
            outage=self._outage,
            trouble=self._trouble,
            poll_settings=self._poll_settings,
            publish_events=self._events.step,
            explain=explainer.work,
            die=self._die,
            log=self._log,
            tell_of=tell_of,
            has_ended=has_ended,
            keep_seconds=process.keep_days * 86400.0,
            heartbeat=self._heartbeat,
        )
        self._upkeep = Upkeep(self._chores)
        self._worker_process: WorkerProcess | None = None
        self._settings_are_new = True

    async def run(self) -> int:
        """Work until SIGTERM, then drain; the exit code."""
        who = self._identity
        await self._ledger.run(
            lambda c, now: workers.register(
                c,
                now,
                who.worker,
                host=who.host,
                pid=who.pid,
                version=version("postmeter"),
                process=name_of_this_process(),
            )
        )
        self._ledger.owner = who.worker
        # Else the first jobs would try what is held, at every start.
        self._holding.replace(await self._ledger.run(lambda c, _: holds.all_holds(c)))
        self._worker_process = WorkerProcess(
            self._broker,
            on_failure=self._actors.on_failure,
            on_ledger_unavailable=self._outage.begin,
            grace_seconds=self._process_settings.grace_seconds,
        )
        self._upkeep.start()
        await self._intake.read_again(self._topology)
        self._log.info("worker started", worker=who.worker, pid=who.pid)
        try:
            with signals(self._worker_process):
                code = await self._worker_process.run()
        finally:
            self._pump.pause()
            await self._upkeep.stop()
            await self._transports.close()
            await self._tokens.close()
        await self._say_goodbye()
        self._log.info("worker stopped", worker=who.worker, pid=who.pid, code=code)
        return code

    async def _say_goodbye(self) -> None:
        """Free what this worker still holds, and publish what it has to say."""
        try:
            await self._ledger.run(lambda c, now: workers.bury(c, now, self._identity.worker))
        except LedgerUnavailable as error:
            self._log.warning("the ledger is away at the end", reason=str(error))
        else:
            await self._upkeep.publish_rest()
        await asyncio.to_thread(self._publisher.close)

    def _on_fault(self, job_id: str, fault: Exception) -> None:
        self._log.error("a fault in Postmeter", job_id=job_id, exc_info=fault)

    def _resolve(self, company: str | None, user: str | None, kind: str) -> EffectiveSettings:
        return self._watcher.current.resolve(company, user, kind)  # type: ignore[arg-type]  # the ledger's kinds are the settings' kinds

    def _poll_settings(self) -> None:
        self._settings_are_new |= self._watcher.poll()
        if self._settings_are_new:
            current = self._watcher.current
            changed = partial(
                outdated, resolve=self._resolve, registrations=current.registration_keys
            )
            self._ledger.call(partial(holds.retire, outdated=changed))
            self._settings_are_new = False
        note_connections("smtp", self._transports.smtp.stats())

    def _suspend(self, reason: str) -> None:
        self._switch.suspend(reason)
        self._pump.pause()

    def _resume(self) -> None:
        self._switch.resume()
        self._pump.resume()

    def _die(self) -> None:
        """End at once: another worker has taken over what this one had in hand."""
        os._exit(1)

    def _trouble(self) -> str:
        if self._outage.reason:
            return self._outage.reason
        missing = self._broker.disconnected()
        return f"not connected: {', '.join(missing)}" if missing else ""

    def _sources(self) -> dict[str, MessageSource]:
        queues = self._topology
        url = self._process_settings.broker_url.get_secret_value()
        names = {queues.send: "send", queues.batch: "batch", queues.dead: DEAD_ACTOR}
        prefetch = {queues.send: "send", queues.batch: "batch", queues.dead: "dead"}
        sources = {LEDGER_QUEUE: ledger_source(self._pump, intake=self._switch)}
        inbox = Inbox(inbox_path(url)) if url.startswith(SCHEME) else None
        for queue, actor in names.items():
            count = PREFETCH[prefetch[queue]]
            if inbox is not None:
                sources[queue] = inbox_source(
                    inbox, queue, actor_name=actor, prefetch=count, intake=self._switch
                )
            else:
                sources[queue] = rabbitmq_source(
                    url,
                    queue,
                    topology=queues,
                    actor_name=actor,
                    prefetch=count,
                    intake=self._switch,
                )
        return sources

    def _open_publisher(self) -> Publisher:
        url = self._process_settings.broker_url.get_secret_value()
        if url.startswith(SCHEME):
            return NullPublisher()
        return EventPublisher(url, self._topology.events, confirm_timeout_seconds=CONFIRM_SECONDS)


async def work(
    process: ProcessSettings, watcher: SettingsWatcher, tuning: Tuning | None = None
) -> int:
    """Run one worker process to its end; the exit code.

    Raises:
        LedgerUnusable: the ledger's version or address does not fit.
    """
    ledger = await open_ledger(ledger_url(process))
    try:
        return await App(process, watcher, ledger, tuning or Tuning()).run()
    finally:
        ledger.close()


def run(
    process: ProcessSettings,
    watcher: SettingsWatcher,
    tuning: Tuning | None = None,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> int:
    """Run one worker process on a loop of its own; 2 where its ledger can't be used."""
    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            return runner.run(work(process, watcher, tuning))
    except LedgerUnusable as error:
        get_logger("postmeter.ledger").critical(str(error))
        return 2
