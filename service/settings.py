"""What an operator can set, by environment variables that begin with `CUPDISC_`. Read once, then passed down."""

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """One frozen object. A wrong value stops the start, and the message names the field."""

    model_config = SettingsConfigDict(env_prefix="CUPDISC_", frozen=True)

    registry: str = "bundled"  # a folder of versions, or the version that ships with the package
    version: str = "production"  # served where a request names none: a version or an alias
    engine: Literal["auto", "openvino", "tensorflow"] = "auto"  # auto: OpenVINO where it is installed
    precision: Literal["auto", "f32", "bf16"] = "auto"  # auto: bf16 where the CPU computes in it, else f32
    threads: int = Field(0, ge=0)  # that the network may use; 0: all that the process has
    max_live_versions: int = Field(2, ge=2)  # kept loaded: the default and those asked for most recently
    max_parallel: int = Field(2, ge=1)  # photographs worked on at the same time; the others wait
    max_photograph_bytes: int = Field(32 * 2**20, ge=1)  # encoded, as sent
    max_photograph_pixels: int = Field(40_000_000, ge=1)  # two of them at once take about 1 GiB
    upload_timeout_s: float = Field(120.0, gt=0)  # until the whole body has arrived
    keys: Path | None = None  # the file of callers that `cupdisc keys` writes; without it, no key is asked for
    open: bool = False  # true: let everybody in from other machines, where something in front keeps strangers out
    issuer: str = ""  # of OpenID Connect tokens that are taken too, for instance https://accounts.google.com
    audience: str = ""  # that those tokens are made out to; needed with an issuer
    rate: str = ""  # requests that one caller may make, such as 600/minute; empty: as many as they like
    concurrent: int = Field(0, ge=0)  # requests that one caller may have under way; 0: any number
    cors_origins: str = ""  # of other sites whose pages may call, separated by commas; empty: none
