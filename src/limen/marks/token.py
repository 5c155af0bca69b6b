"""Mark keys in a PKCS#11 token (OASIS PKCS #11 v2.40): made in it, used in it, never read out of it.

The secret is a sensitive generic secret that can't be extracted. What leaves the token are its HMAC-SHA256 values under
the subkeys' names (CKM_SHA256_HMAC). A session is opened for each use and closed with it, so that a token that was taken
away is noticed. A PIN that was refused is not tried again until `retry`: tokens lock after a few.

Needs the extra `hsm` (python-pkcs11), loaded on first use. One thread at a time; the lock sees to that.
"""

from __future__ import annotations

import importlib
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from limen.core.errors import MarkKeyUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SECRET_BITS: Final = 256
ID_BYTES: Final = 16


class Holder(Protocol):
    """What holds secrets and derives from them. Nothing here is stored by the caller but a secret's handle."""

    label: str

    def make(self, handle: bytes, *, label: str) -> None:
        """Make a secret under a handle that is new; durable on return."""
        ...

    def macs(self, handle: bytes, messages: Sequence[bytes]) -> list[bytes]:
        """HMAC-SHA256 of each message under a secret. MarkKeyUnavailable if it isn't there, or can't be used."""
        ...

    def retry(self) -> None:
        """Try again what was refused before."""
        ...


@dataclass
class Token:
    """A token by its label, behind the module of its maker. `pin` is asked when it is needed, and kept nowhere."""

    module: str
    label: str
    pin: Callable[[], str]
    _refused: str = ""  # why the token let nobody in; guarded by _lock
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def make(self, handle: bytes, *, label: str) -> None:
        """Make a sensitive secret that can't be extracted, under a handle that is new; durable on return."""

        def made(pkcs11: Any, session: Any) -> None:
            wanted = pkcs11.Attribute
            template = {wanted.SENSITIVE: True, wanted.EXTRACTABLE: False, wanted.PRIVATE: True, wanted.SIGN: True}
            kind = pkcs11.KeyType.GENERIC_SECRET
            key = session.generate_key(kind, SECRET_BITS, id=handle, label=label, store=True, template=template)
            # A token may take a wish for a hint; a secret that could be read out of it would be worse than a file.
            if not key[wanted.SENSITIVE] or key[wanted.EXTRACTABLE] or not key[wanted.NEVER_EXTRACTABLE]:
                key.destroy()
                raise MarkKeyUnavailable(
                    f"token {self.label} would make a secret that can be read out of it; none was made",
                    next_step="set the token's policy so that generic secrets are sensitive and not extractable",
                )

        self._with_session(made, writing=True)

    def macs(self, handle: bytes, messages: Sequence[bytes]) -> list[bytes]:
        """HMAC-SHA256 of each message under the secret of that handle."""

        def derived(pkcs11: Any, session: Any) -> list[bytes]:
            key = session.get_key(object_class=pkcs11.ObjectClass.SECRET_KEY, id=handle)
            return [bytes(key.sign(message, mechanism=pkcs11.Mechanism.SHA256_HMAC)) for message in messages]

        macs: list[bytes] = self._with_session(derived, writing=False)
        return macs

    def retry(self) -> None:
        """Let the PIN be tried again."""
        with self._lock:
            self._refused = ""

    def _with_session(self, work: Callable[[Any, Any], Any], *, writing: bool) -> Any:
        with self._lock:
            if self._refused:
                raise self._unavailable(self._refused)
            pkcs11, errors = _library()
            try:
                token = pkcs11.lib(self.module).get_token(token_label=self.label)
                with token.open(user_pin=self.pin(), rw=writing) as session:
                    return work(pkcs11, session)
            except (errors.PinIncorrect, errors.PinLocked, errors.PinExpired, errors.PinInvalid, errors.PinLenRange) as e:
                self._refused = f"refuses the PIN ({type(e).__name__}); it is not tried again by itself"
                raise self._unavailable(self._refused) from e
            except (errors.NoSuchToken, errors.TokenNotPresent, errors.DeviceRemoved) as e:
                raise self._unavailable("is not there") from e
            except errors.NoSuchKey as e:
                raise self._unavailable("does not hold this key") from e
            except errors.PKCS11Error as e:
                raise self._unavailable(f"can't be used: {type(e).__name__} {e}".rstrip()) from e

    def _unavailable(self, why: str) -> MarkKeyUnavailable:
        return MarkKeyUnavailable(
            f"token {self.label} {why}; nothing was derived", next_step="see to the token, then `limen asset key show ASSET`"
        )


def _library() -> tuple[Any, Any]:
    try:
        return importlib.import_module("pkcs11"), importlib.import_module("pkcs11.exceptions")
    except ImportError as e:
        raise MarkKeyUnavailable("python-pkcs11 is not installed", next_step="install limen with its extra `hsm`") from e
