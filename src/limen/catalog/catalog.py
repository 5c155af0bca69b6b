"""The catalog: the snapshot in memory, the control tables behind it, and the keys of people's side records.

The ledger is the record. `apply` takes a change whose entry is durable, writes its rows and the entry's index in one
transaction, and swaps the snapshot; an entry that was applied before changes nothing. What a crash kept from being
applied is applied at start-up, from the entries after `applied`.

An erasure is the one change that also destroys: its person's key goes in the same transaction, and what entries have
called them is kept instead. `sweep` then leaves no older page behind; until it has, `unswept` says so.

One process owns the control database. `apply` is called by one thread at a time; `snapshot`, `subject_key` and
`pseudonym` may be read from any.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import threading
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from limen.catalog.personal import Erasure
from limen.catalog.rows import STORED, load, made
from limen.catalog.snapshot import Ordered, Snapshot
from limen.core.errors import Conflict, NotFound
from limen.core.types import REF_BYTES, SubjectKey
from limen.db.engine import open_engine, rewrite
from limen.db.tables import APPLIED, ERASURE, PERSON, PSEUDONYM, SUBJECT_KEY, WORKLOAD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from limen.catalog.changes import Change
    from limen.catalog.state import State

SUBJECT_KEY_BYTES: Final = 32
PSEUDONYM_HEX: Final = 20  # 80 bits: no two people of one project will meet


class Catalog:
    """Vendors, people, projects, assets and grants, as the ledger's authority entries made them."""

    def __init__(
        self,
        engine: sa.Engine,
        snapshot: Snapshot,
        keys: dict[str, tuple[bytes, bytes | None]],
        random: Callable[[int], bytes],
    ) -> None:
        self.snapshot = snapshot
        self._engine = engine
        self._random = random
        self._keys = keys  # (ref, key); key None: erased. Guarded by _making; reads need no lock
        self._holders = {ref: holder for holder, (ref, _) in keys.items()}  # guarded likewise
        self._making = threading.Lock()
        self._kept: dict[tuple[str, str], str] = {}  # (holder, project) -> pseudonym, of those whose key is gone
        self.unswept = False  # an erasure was applied and not swept up after
        self._closed: frozenset[str] = frozenset()  # whose key seals nothing more: an erasure is under way

    @classmethod
    def open(cls, url: str, *, random: Callable[[int], bytes]) -> Catalog:
        """The catalog in that database (`sqlite:///…`), its tables brought up to date. Invalid("url", …) if it can't be."""
        engine = open_engine(url)
        with engine.connect() as connection:
            applied = connection.execute(sa.select(APPLIED.c.entry)).scalar_one()
            keys = {row.holder: (row.ref, row.key) for row in connection.execute(sa.select(SUBJECT_KEY))}
            catalog = cls(engine, Snapshot(applied, load(connection)), keys, random)
            catalog._keep(connection.execute(sa.select(PSEUDONYM)).all())
            pending = sa.select(ERASURE.c.id).where(ERASURE.c.swept == 0).limit(1)
            catalog.unswept = connection.execute(pending).first() is not None
            return catalog

    @property
    def applied(self) -> int:
        """The index of the last authority entry that was applied; -1 before the first."""
        return self.snapshot.epoch

    def apply(self, change: Change, *, index: int, at: int) -> None:
        """Apply one change whose entry `index` is durable; durable itself when this returns. Again is no change."""
        self.apply_all([Ordered(change, index, at)])

    def apply_all(self, ordered: Sequence[Ordered]) -> None:
        """Apply several in one transaction; those applied before are passed over."""
        due = [step for step in ordered if step.index > self.applied]
        if not due:
            return
        before = self.snapshot
        after = before.with_changes(due)
        with self._engine.begin() as connection:
            _advance(connection, after.epoch, before.epoch)
            _store(connection, after.state, before.state, due)
            for step in due:
                if isinstance(step.change, Erasure):
                    _destroy(connection, step.change, step.index)
        self.snapshot = after
        for step in due:
            if isinstance(step.change, Erasure):
                self._forget_keys(step.change)

    def subject_key(self, holder: str) -> SubjectKey:
        """The key that seals a subject's side records, and its reference; made, and durable, at first use.

        NotFound once it is erased.
        """
        if holder not in self._keys:
            self.make_subject_keys([holder])
        ref, key = self._keys[holder]
        if key is None:
            raise NotFound(f"the key of {holder}: it was erased")
        return SubjectKey(ref, key)

    def holder_under(self, ref: bytes) -> str:
        """Whose side records carry this reference. NotFound if it was never made here."""
        holder = self._holders.get(ref)
        if holder is None:
            raise NotFound(
                "the key of a side record: control.db does not hold it; restore the control.db that goes with this log"
            )
        return holder

    def key_under(self, ref: bytes) -> bytes:
        """The key of the side records that carry this reference. NotFound if it was erased, or was never made here."""
        return self.subject_key(self.holder_under(ref)).key

    def make_subject_keys(self, holders: Iterable[str]) -> None:
        """Make the keys that are missing, in one transaction: before an import, so that it does not pay a commit each."""
        with self._making:
            missing = [holder for holder in dict.fromkeys(holders) if holder not in self._keys]
            made = {holder: (self._random(REF_BYTES), self._random(SUBJECT_KEY_BYTES)) for holder in missing}
            if made:
                with self._engine.begin() as connection:
                    rows = [{"holder": holder, "ref": ref, "key": key} for holder, (ref, key) in made.items()]
                    connection.execute(SUBJECT_KEY.insert(), rows)
                self._holders.update({ref: holder for holder, (ref, _) in made.items()})
                self._keys.update(made)

    def sealable(self, holder: str) -> bool:
        """Whether detail about them can be written down: not once they are erased, nor while that is under way."""
        return holder not in self._closed and self._keys.get(holder, (b"", b"unmade"))[1] is not None

    @contextlib.contextmanager
    def sealing_stopped(self, holders: Iterable[str]) -> Iterator[None]:
        """For the length of an erasure: whatever is written meanwhile carries no detail about these."""
        self._closed |= frozenset(holders)
        try:
            yield
        finally:
            self._closed -= frozenset(holders)

    def ref(self, holder: str) -> bytes | None:
        """The reference of their side records, also once the key is gone; None if there never was one."""
        return self._keys.get(holder, (None, None))[0]

    def erased_refs(self) -> frozenset[bytes]:
        """The references under which no side record may be left."""
        return frozenset(ref for ref, key in self._keys.values() if key is None)

    def entry_of(self, person: str) -> int:
        """The index of the entry by which a person or workload was added. Reads the database."""
        for table in (PERSON, WORKLOAD):
            with self._engine.connect() as connection:
                found = connection.execute(sa.select(table.c.entry).where(table.c.id == person)).scalar()
            if found is not None:
                return int(found)
        raise NotFound(f"person {person}")

    def erased_by(self, person: str) -> int:
        """The index of the entry that erased a person, under this id or another that they had. Reads the database."""
        ids = self.snapshot.state.same_person(person)
        with self._engine.connect() as connection:
            return int(connection.execute(sa.select(ERASURE.c.entry).where(ERASURE.c.id.in_(ids))).scalar_one())

    def sweep(self) -> None:
        """Leave nothing of what was deleted in the database's files. Idempotent; Conflict if somebody reads them for long."""
        rewrite(self._engine)

    def swept(self) -> None:
        """Every place has been swept, the ledger's too; durable on return."""
        with self._engine.begin() as connection:
            connection.execute(ERASURE.update().values(swept=1))
        self.unswept = False

    def _forget_keys(self, erasure: Erasure) -> None:
        self.unswept = True
        with self._making:
            for holder in erasure.everybody:
                if holder in self._keys:
                    self._keys[holder] = (self._keys[holder][0], None)
        self._kept.update({(h, project): code for h, codes in erasure.pseudonyms.items() for project, code in codes.items()})

    def _keep(self, rows: Iterable[Any]) -> None:
        self._kept.update({(row.holder, row.project): row.code for row in rows})

    def pseudonym(self, holder: str, project: str) -> str:
        """What entries of one project call somebody: HMAC-SHA256 of the project's id under their subject key.

        Nobody can link the pseudonyms of two projects without that key. With the key gone nobody can compute one, so an
        erased person keeps those that there were; NotFound for any other project.
        """
        kept = self._kept.get((holder, project))
        if kept is not None:
            return kept
        code = hmac.digest(self.subject_key(holder).key, b"limen pseudonym v1\0" + project.encode(), hashlib.sha256)
        return f"p-{code.hex()[:PSEUDONYM_HEX]}"

    def close(self) -> None:
        """Close the database."""
        self._engine.dispose()


def _destroy(connection: sa.Connection, erasure: Erasure, index: int) -> None:
    for holder in erasure.everybody:
        connection.execute(SUBJECT_KEY.update().where(SUBJECT_KEY.c.holder == holder).values(key=None))
        codes = erasure.pseudonyms[holder]
        connection.execute(PSEUDONYM.insert(), [{"holder": holder, "project": p, "code": codes[p]} for p in sorted(codes)])
    connection.execute(ERASURE.insert(), {"id": erasure.id, "entry": index, "swept": 0})


def _advance(connection: sa.Connection, epoch: int, before: int) -> None:
    # Nothing can slip between: if another process applied an entry meanwhile, no row matches.
    moved = connection.execute(APPLIED.update().where(APPLIED.c.entry == before).values(entry=epoch))
    if moved.rowcount != 1:
        raise Conflict("another process applies changes to this control database; stop it first")


def _store(connection: sa.Connection, after: State, before: State, due: Sequence[Ordered]) -> None:
    """Write what a draft touched. A new row keeps the index of the entry that made it."""
    makers = {made(step.change): step.index for step in due}
    for name, table, row_of in STORED:
        known = getattr(before, name)
        fresh: list[dict[str, Any]] = []
        for key in getattr(after, name).touched:
            row = row_of(after, key)
            # A built-in tier is known from the start, but has no row to update until it is first set.
            if key not in known or not _update(connection, table, row):
                fresh.append({**row, "entry": makers[name, key]})
        if fresh:
            connection.execute(table.insert(), fresh)


def _update(connection: sa.Connection, table: sa.Table, row: dict[str, Any]) -> bool:
    same = sa.and_(*(column == row[column.name] for column in table.primary_key.columns))
    return connection.execute(table.update().where(same).values(row)).rowcount == 1
