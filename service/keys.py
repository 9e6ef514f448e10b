"""Who may call: named keys and holders of tokens, from one file that may be changed while the service runs."""

import hashlib
import json
import os
import secrets
import stat
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
import structlog
from limits import parse
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from model.errors import InvalidConfiguration

Scope = Literal["segment", "admin"]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$")]
PREFIX = "cupdisc_"  # tells a person, and a scanner for leaked secrets, what it is
SECRET_BYTES = 32  # of a new key: nobody guesses it, so one round of SHA-256 is enough to hide it in the file
SHORTEST = 32  # characters of a key that an operator brings along
LONGEST = 512  # characters; longer ones are not even hashed

logger = structlog.get_logger("cupdisc")


class Caller(BaseModel):
    """Somebody who may call, what they may do, and how much of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    scopes: frozenset[Scope] = Field(min_length=1)
    expires: AwareDatetime | None = None
    rate: str | None = None  # requests, such as 600/minute; in place of the service's own
    concurrent: int | None = Field(None, ge=1)  # requests at the same time; in place of the service's own

    @model_validator(mode="after")
    def _rate_is_one(self) -> Self:
        if self.rate is not None:
            parse(self.rate)
        return self


class Key(Caller):
    """A caller who shows a secret, of which the file holds the SHA-256 alone."""

    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class Holder(Caller):
    """A caller who shows an OpenID Connect token of the issuer that the settings name."""

    subject: str | None = Field(None, min_length=1)  # the token's `sub`
    email: str | None = Field(None, min_length=3)  # or its `email`, which the issuer must have verified

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.subject is None) == (self.email is None):
            raise ValueError("give either subject or email")
        return self


class KeyFile(BaseModel):
    """What the file holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keys: tuple[Key, ...] = ()
    holders: tuple[Holder, ...] = ()

    @model_validator(mode="after")
    def _all_different(self) -> Self:
        names = [one.name for one in (*self.keys, *self.holders)]
        if len(set(names)) < len(names):
            raise ValueError("two callers have the same name")
        if len({key.sha256 for key in self.keys}) < len(self.keys):
            raise ValueError("two keys have the same sha256")
        return self


def digest(key: str) -> str:
    """What the file holds of a key: SHA-256, hexadecimal."""
    return hashlib.sha256(key.encode()).hexdigest()


def new_key() -> str:
    """A key that nobody has had before."""
    return PREFIX + secrets.token_urlsafe(SECRET_BYTES)


def read(path: Path) -> KeyFile:
    """The file's callers.

    Raises:
        InvalidConfiguration: it cannot be read, or does not hold what it should; the message quotes nothing of it.
    """
    try:
        return KeyFile.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InvalidConfiguration(f"the key file {path} cannot be read: {error.strerror}") from None
    except ValidationError as error:
        wrong = [f"{'.'.join(map(str, one['loc'])) or 'file'}: {one['msg']}" for one in error.errors()]
        raise InvalidConfiguration(f"the key file {path} is wrong: {'; '.join(wrong)}") from None


def write(path: Path, content: KeyFile) -> None:
    """Replace the file in one step, readable by its owner alone; a service that reads it meanwhile sees no half."""
    text = json.dumps(content.model_dump(mode="json", exclude_none=True), indent=2) + "\n"
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, stat.S_IRUSR | stat.S_IWUSR)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    fresh.replace(path)


class Verifier:
    """Which of the known keys it is, in a time that depends neither on the key nor on whether it is known.

    All bytes of all digests are compared, and the place is computed, without a branch. Measured, `hmac.compare_digest`
    in a loop tells right keys from wrong ones by some nanoseconds, as Python's own True, False and small numbers do not
    cost the same; and `argmin` tells the first key from the others.
    """

    def __init__(self, digests: Sequence[str]) -> None:
        self._known = np.array([list(bytes.fromhex(one)) for one in digests], np.uint8).reshape(-1, 32)
        self._places = np.arange(1, len(digests) + 1)

    def __call__(self, presented: bytes) -> int:
        """The key's place, from 1 on; 0 where it is none of them."""
        shown = np.frombuffer(hashlib.sha256(presented).digest(), np.uint8)
        distances = np.bitwise_or.reduce(self._known ^ shown, axis=1).astype(np.int64)  # 0 where it is the same
        same = (distances - 1) >> 63 & 1
        return int((same * self._places).max(initial=0))


class Callers:
    """The file's callers as they are now: it is read anew when it has changed.

    A changed file that is wrong or missing is reported, and the callers last read stay.

    Raises:
        InvalidConfiguration: as `read`, at the start.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = self._reported = self._look()
        self._use(read(path))

    def by_key(self, presented: bytes) -> Caller | None:
        """Whose key it is, expired or not."""
        self._refresh()
        if not self._keys or len(presented) > LONGEST:
            return None
        place = self._verify(presented)
        return self._keys[place - 1] if place else None

    def by_token(self, subject: str, email: str | None) -> Caller | None:
        """Who holds a token with these claims, expired or not; `email` where the issuer has verified it."""
        self._refresh()
        found = (
            one
            for one in self._holders
            if one.subject == subject or (email is not None and one.email is not None and one.email == email)
        )
        return next(found, None)

    def _use(self, content: KeyFile) -> None:
        self._keys, self._holders = content.keys, content.holders
        self._verify = Verifier([key.sha256 for key in content.keys])

    def _look(self) -> tuple[int, int, int] | None:
        """What changes when the file does; None where there is none."""
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _refresh(self) -> None:
        seen = self._look()
        if seen == self._seen:
            return
        try:
            self._use(read(self._path))
        except InvalidConfiguration as error:
            if seen != self._reported:
                logger.error("the callers last read stay", reason=str(error))
            self._reported = seen  # told once, but tried with every request: it may be a moment's trouble
        else:
            self._seen = seen
            logger.info("callers read anew", callers=len(self._keys) + len(self._holders))


def is_expired(caller: Caller) -> bool:
    """Whether the caller's time is over."""
    return caller.expires is not None and caller.expires <= datetime.now(UTC)
