"""The composition root: the only place that builds things and wires them. One process owns one data directory.

`Gateway` is everything behind the doors; `serve` puts the doors on a socket. Wall clock and randomness enter here and
are passed on.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog
import uvicorn

from limen import directory
from limen.access import Access
from limen.adoption import Adoption
from limen.advised import Advised
from limen.assurance.advisories.entering import Entering
from limen.assurance.advisories.entering import Source as AdvisorySource
from limen.assurance.advisories.inbox import SOURCE, Inbox
from limen.assurance.advisories.known import Advisories
from limen.assurance.bom.boms import Boms
from limen.assurance.contract.book import Contracts
from limen.assurance.evidence.filed import Filed
from limen.assurance.evidence.keys import Keys
from limen.assurance.facts.book import Facts
from limen.assurance.facts.components import Listed
from limen.assurance.facts.matched import Named
from limen.assurance.match.act import Limits
from limen.assurance.match.actions import Actions, ActionsFold
from limen.assurance.match.ask import Asking
from limen.assurance.match.hits import Matching
from limen.attributing import WhoIsWho
from limen.authority import Authority
from limen.catalog.catalog import Catalog
from limen.clock import Clock
from limen.config import REGION, Config, alert_secrets, storage_account, token_pin, upstream_account
from limen.control import ControlSocket
from limen.core.errors import Invalid, LimenError
from limen.custody import GATEWAY, Custody, Quorum
from limen.derived import Derived
from limen.directory import secret, take_lock
from limen.doors.log.app import LogDoor
from limen.doors.s3.app import S3Door
from limen.doors.sts.app import StsDoor
from limen.environment import check_startup_code
from limen.filing import Filing
from limen.formats.sshsig import PublicKey
from limen.formats.tlogpolicy import Policy
from limen.identity.devissuer import DevIssuer
from limen.identity.live import Live
from limen.identity.oidc import IssuerConfig, RelyingParty
from limen.identity.sessions import Sessions
from limen.ledger.ledger import PUBLISHED, Ledger
from limen.ledger.publication.bucket import Bucket
from limen.ledger.publication.places import Directory
from limen.ledger.scribe import Scribe
from limen.listening import Unsignalled, beside, bound, log_without_values
from limen.marks.keep import Keep
from limen.marks.shelf import Shelf
from limen.marks.token import Token
from limen.objectstore import SCHEME
from limen.observe.places import FOLDER
from limen.observing import Observing
from limen.policy.policies import Policies
from limen.policy.quota import Quota
from limen.privacy.erasure import sweep
from limen.privacy.retention import Retention
from limen.recovery import Recovery
from limen.registration import Registrar
from limen.response.cases import Cases
from limen.response.model_tests import ModelTests
from limen.standing import NOTE, Standing
from limen.store.blobs import Blobs
from limen.store.drops import Drops
from limen.store.upstream import Opening, Upstreams
from limen.transport import CuttableProtocol
from limen.verbs import advisories as feeds
from limen.watch.observed import Observed
from limen.watch.target import check_all
from limen.watch.watch import Source, Watch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping
    from pathlib import Path

    from limen.formats.note import Verifier
    from limen.ledger.publication.places import Place

    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
    Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
    App = Callable[[Scope, Receive, Send], Awaitable[None]]

log = structlog.get_logger("limen")


@dataclass(slots=True)
class Gateway:
    """One data directory, open: its services, its verbs, and its doors. `close` it, or leave that to `serve`."""

    config: Config
    custody: Custody
    access: Access
    authority: Authority
    registrar: Registrar
    adoption: Adoption
    sessions: Sessions
    relying_party: RelyingParty
    issuer: DevIssuer | None
    recovered: Recovery
    standing: Standing
    retention: Retention
    observing: Observing
    filing: Filing
    boms: Boms
    advisories: Advisories
    entering: Entering
    contracts: Contracts
    facts: Facts
    filed: Filed
    cases: Cases
    model_tests: ModelTests
    evidence_keys: Keys
    matching: Matching
    asking: Asking
    advised: Advised
    who: WhoIsWho
    watch: Watch
    verifier: Verifier  # the log's own key
    _lock: int
    inbox: Inbox | None = None  # while `serve` runs

    @classmethod
    async def open(cls, config: Config, *, clock: Clock | None = None) -> Gateway:
        """Take the data directory, recover what a crash left, and be ready to serve.

        Conflict if another process owns the directory; TamperDetected if the ledger's head does not verify.
        """
        data = config.data
        data.mkdir(parents=True, exist_ok=True)
        lock = take_lock(data)
        try:
            return await cls._opened(config, clock or Clock(development=config.development), lock)
        except BaseException:
            os.close(lock)
            raise

    @classmethod
    async def _opened(cls, config: Config, clock: Clock, lock: int) -> Gateway:
        data = config.data
        server_key, signer = secret(data, "server.key"), directory.signer(config)
        catalog = Catalog.open(f"sqlite:///{data / 'control.db'}", random=os.urandom)
        ledger = Ledger.open(
            data,
            origin=config.ledger.origin,
            signer=signer,
            now=clock.now,
            deadline_s=config.ledger.append_deadline_s,
            copies=_further_places(config),
            guard=directory.guard(config, signer.verifier, now=clock.now),
            witnesses=_witnesses(config),
            witness_timeout_s=config.ledger.witness_timeout_s,
        )
        blobs = Blobs(data / "blobs")
        custody = Custody(
            ledger=ledger,
            scribe=Scribe(clock.now_us, os.urandom, catalog.subject_key, clock.story_us),
            catalog=catalog,
            policies=Policies(),
            quota=Quota(),
            live=Live(),
            shelf=_shelf(config),
            blobs=blobs,
            drops=Drops(data),
            upstreams=upstreams(config),
            clock=clock,
            quorum=Quorum(frozenset(config.ledger.witnessed_projects), serve=config.ledger.without_quorum == "serve"),
        )
        authority = Authority(custody, data=data, random=os.urandom, contact=config.server.contact)
        standing = Standing.of(data / NOTE, ledger, now=clock.now())
        recovered = await Recovery.run(custody, authority, standing)
        if catalog.unswept:  # a crash interrupted an erasure
            await sweep(custody, authority)
        observing = Observing(custody, data)
        observing.finish()
        who = WhoIsWho(custody, data / FOLDER)
        who.finish()
        registrar = Registrar(custody, authority)
        filing = Filing(custody)
        filed = Filed(data, ledger, origin=config.ledger.origin)
        advisories = Advisories(data, ledger, blobs.path, origin=config.ledger.origin)
        boms = Boms(data, ledger, filing.read, origin=config.ledger.origin)
        sources: dict[str, str] = {each.name: each.may for each in config.advisory_source}
        matching = Matching(boms, advisories, sources=sources)
        actions = Actions(Derived(data, ledger, ActionsFold(filing.read), origin=config.ledger.origin))
        assurance = config.assurance
        limits = Limits(assurance.cap_vendors, assurance.cap_people, assurance.cap_findings)
        issuer = DevIssuer(url=f"{config.url}/_dev/issuer", mode=config.server.mode) if config.development else None
        relying_party = RelyingParty(_issuers(config, issuer), development=config.development)
        return cls(
            config=config,
            custody=custody,
            access=Access(custody),
            authority=authority,
            registrar=registrar,
            adoption=Adoption(custody, authority, registrar),
            sessions=Sessions(server_key),
            relying_party=relying_party,
            issuer=issuer,
            recovered=recovered,
            standing=standing,
            retention=Retention(custody, authority, config.ledger.network_days),
            observing=observing,
            filing=filing,
            boms=boms,
            advisories=advisories,
            entering=Entering(filing, advisories, _advisory_sources(config)),
            contracts=Contracts(data, ledger, filing.read, origin=config.ledger.origin),
            facts=Facts(data, ledger, Listed(boms, advisories, Named(matching)), origin=config.ledger.origin),
            filed=filed,
            cases=Cases.of(data, ledger, origin=config.ledger.origin),
            model_tests=ModelTests.of(data, ledger, origin=config.ledger.origin),
            evidence_keys=Keys(data, filed, filing, os.urandom),
            matching=matching,
            asking=Asking(boms, advisories, matching, assurance.lookback_days, sources),
            advised=Advised(custody, authority, filing, matching=matching, advisories=advisories, actions=actions, limits=limits),
            who=who,
            watch=_watch(config, custody, observing),
            verifier=signer.verifier,
            _lock=lock,
        )

    @property
    def published(self) -> Path:
        """The directory in which the log is published."""
        return self.config.data / PUBLISHED

    async def close(self) -> None:
        """Flush the ledger and give the data directory back."""
        self.custody.windows.close_all()
        with contextlib.suppress(LimenError, OSError):  # the next start reads more
            await asyncio.to_thread(self.standing.keep, now=self.custody.clock.now(), closing=True)
        self.boms.close()
        self.advisories.close()
        self.contracts.close()
        self.facts.close()
        self.filed.close()
        self.cases.close()
        self.model_tests.close()
        self.advised.close()
        await self.custody.ledger.close()
        self.custody.catalog.close()
        os.close(self._lock)

    def app(self) -> App:
        """The ASGI application: STS and S3 on one address, the well-known page, and the development issuer."""
        now = self.custody.clock.now
        s3 = S3Door(
            self.access,
            self.sessions.secret_for,
            lambda access_key, token: self.sessions.resolve(access_key, token, now=now()),
            now=now,
            region=REGION,
            domain=self.config.server.domain,
            unresolved=self.custody.unresolved,
        )
        sts = StsDoor(
            self.relying_party,
            self.sessions,
            self.authority.start_session,
            admit=self.authority.admit,
            now=now,
            region=REGION,
            unresolved=self.custody.unresolved,
        )
        issuer = self.issuer.app() if self.issuer else None

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                return
            path: str = scope["path"]
            if issuer is not None and path.startswith("/_dev/issuer"):
                await issuer(scope, receive, send)
            elif path == "/.well-known/limen":
                await _reply(send, self.well_known())
            elif path == "/" and sts.speaks(scope):
                await sts(scope, receive, send)
            else:
                await s3(scope, receive, send)

        return app

    def well_known(self) -> dict[str, Any]:
        """What `limen login` needs to know before it has a session."""
        issuers = [{"url": i.url, "client_id": i.client_id or i.audiences[0]} for i in self.config.issuer]
        if self.issuer is not None:
            issuers.append({"url": self.issuer.url, "client_id": self.issuer.client_id})
        return {"issuers": issuers, "region": REGION, "sts": self.config.url}


def _shelf(config: Config) -> Shelf:
    """Prepared versions, and their keys where the configuration says."""
    keys, marks = config.data / "keys" / "marks", config.marks
    token = Token(marks.module, marks.token, lambda: token_pin(config)) if marks.token else None
    escrow = config.data / marks.escrow if marks.escrow else None
    return Shelf(config.data / "prepared", keys, keep=Keep(keys, escrow, token, marks.keep, marks.levels))


async def serve(config: Config, *, ready: Callable[[Gateway], None] | None = None) -> None:
    """Serve one data directory until SIGTERM or SIGINT. Refuses to start in production over unexpected start-up code."""
    log_without_values()
    check_startup_code(allowed=config.supply.allowed_startup, strict=not config.development)
    log_listener = bound(config.ledger.listen) if config.ledger.listen else None
    check_all(config.alert, alert_secrets(config.alert))
    gateway = await Gateway.open(config)
    for key_id, why in (await asyncio.to_thread(gateway.custody.shelf.load_kept)).items():
        log.error("a mark key can't be used, so nothing is served under it", key=key_id, why=str(why), next_step=why.next_step)
    host, port = config.address
    uvicorn_config = uvicorn.Config(
        gateway.app(),
        host=host,
        port=port,
        http=CuttableProtocol,
        loop="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=bool(config.server.forwarded_from),
        forwarded_allow_ips=list(config.server.forwarded_from) or None,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=5,
    )
    server = Unsignalled(uvicorn_config)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, server.handle_exit, number, None)
    control = await ControlSocket.listen(gateway, config.data / "control.sock")
    tasks = [asyncio.create_task(_keep_house(gateway)), asyncio.create_task(_follow_advisories(gateway))]
    if config.watch.on:
        gateway.custody.watcher = gateway.watch
        gateway.watch.start()
    gateway.inbox = _inbox(gateway)
    if ready is not None:
        ready(gateway)
    try:
        async with contextlib.AsyncExitStack() as beside_it:
            if log_listener is not None:
                await beside_it.enter_async_context(beside(LogDoor(config.data / PUBLISHED), log_listener))
            await server.serve()
    finally:
        if gateway.inbox is not None:
            await asyncio.to_thread(gateway.inbox.close)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await control.close()
        await asyncio.to_thread(gateway.watch.close)  # before the ledger that it reads
        await gateway.close()


async def _keep_house(gateway: Gateway) -> None:
    """Once a second: log orders that the ledger could not take, and count credentials that proved nobody.

    Besides: record that the witnesses cosign, add up the log for the next start, finish an erasure that somebody's reading has
    held up, write down digests that were taken of adopted objects, and once a day drop what is past its time.
    """
    while True:
        await asyncio.sleep(1)
        with contextlib.suppress(Exception):
            await gateway.authority.log_unlogged()
            await gateway.custody.write_counts()
            await gateway.custody.write_witnessed()
            await gateway.retention.keep()
            await gateway.adoption.keep_digests()
        with contextlib.suppress(Exception):
            await asyncio.to_thread(gateway.standing.keep, now=gateway.custody.clock.now())


async def _follow_advisories(gateway: Gateway) -> None:
    """Once a second: act upon what came in, where the verb that took it in has not done so itself."""
    while True:
        try:
            await gateway.advised.look()
        except Exception:
            log.exception("advisories can't be matched; tried again")
        await asyncio.sleep(1)


def _watch(config: Config, custody: Custody, observing: Observing) -> Watch:
    """The reader of the log. It does not run before `serve` starts it."""
    key = hmac.digest(custody.catalog.subject_key(GATEWAY).key, b"limen/watch", "sha256")
    return Watch(
        Source(custody.ledger, custody.catalog),
        config.data,
        origin=config.ledger.origin,
        rules=config.watch.rules,
        targets=config.alert,
        secrets=alert_secrets(config.alert),
        observed=Observed(observing.depot, key, config.watch.rules),
        now_us=custody.clock.now_us,
    )


def _advisory_sources(config: Config) -> list[AdvisorySource]:
    """Whose signatures under advisory feeds are believed."""
    return [AdvisorySource(each.name, PublicKey.from_line(each.key), each.may) for each in config.advisory_source]


def _inbox(gateway: Gateway) -> Inbox | None:
    """The watched directory, being watched; None if none is named."""
    if not gateway.config.assurance.advisories:
        return None
    folder = gateway.config.data / gateway.config.assurance.advisories
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise Invalid("limen.toml: assurance.advisories", f"{folder} is no directory, and can't be made: {e.strerror}") from e
    loop = asyncio.get_running_loop()

    def enter(digest: str, signature: bytes | None) -> None:
        taken = feeds.enter(gateway, digest, source="" if signature else SOURCE, signature=signature, by="watched directory")
        asyncio.run_coroutine_threadsafe(taken, loop).result()

    inbox = Inbox(folder, put=gateway.custody.blobs.put, enter=enter, every_s=gateway.config.assurance.look_s)
    inbox.start()
    return inbox


def _witnesses(config: Config) -> Policy | None:
    """The policy that says who cosigns the log."""
    if not config.ledger.policy:
        if config.ledger.witnessed_projects:
            raise Invalid("limen.toml: ledger.witnessed_projects", "wait for witnesses, and ledger.policy names none")
        return None
    path = config.data / config.ledger.policy
    try:
        return Policy.read(path.read_bytes())
    except OSError as e:
        raise Invalid("limen.toml: ledger.policy", f"{path} can't be read: {e.strerror}") from e


def upstreams(config: Config) -> Upstreams:
    """Where adopted assets rest."""
    openings = [Opening(table.url, upstream_account(table), table.deadline_s) for table in config.upstream]
    return Upstreams(openings, otherwise=storage_account())


def _further_places(config: Config) -> list[Place]:
    """Where the log is published besides the data directory."""
    where = config.ledger.publish
    if not where:
        return []
    if where.startswith(SCHEME):
        return [Bucket(where, storage_account())]
    path = (config.data / where).resolve()
    if path.is_relative_to((config.data / PUBLISHED).resolve()):
        raise Invalid("limen.toml: ledger.publish", "is where the log is published already; name another directory")
    return [Directory(path)]


def _issuers(config: Config, issuer: DevIssuer | None) -> list[IssuerConfig]:
    issuers = [
        IssuerConfig(
            url=i.url,
            audiences=i.audiences,
            algorithms=i.algorithms,
            jwks_uri=i.jwks_uri or None,
            hardware_acr=frozenset(i.hardware_acr),
            vendors=frozenset(i.vendors),
        )
        for i in config.issuer
    ]
    if issuer is not None:
        issuers.append(issuer.config())
    return issuers


async def _reply(send: Send, body: dict[str, Any]) -> None:
    raw = json.dumps(body).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(raw)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": raw})
