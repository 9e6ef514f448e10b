"""What an operator can set, by environment variables that begin with `CUPDISC_`. Read once, then passed down."""

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """One frozen object. A wrong value stops the start, and the message names the field."""

    model_config = SettingsConfigDict(env_prefix="CUPDISC_", frozen=True)

    registry: str = "bundled"  # a folder of versions, gs://bucket/prefix, or the version that ships with the package
    version: str = "production"  # served where a request names none: a version, or an alias that is followed
    candidate: str = "candidate"  # a version or an alias that is tried beside it, if one of the next two is above 0
    candidate_share: float = Field(0.0, ge=0, le=1)  # of the requests that name no version: answered by the candidate
    shadow_share: float = Field(0.0, ge=0, le=1)  # of the others: the candidate's answer too is compared, never shown
    poll_interval_s: float = Field(10.0, ge=0)  # between two looks at what the aliases stand for; 0: never look again
    probe: bool = True  # refuse a version that does not find the disc of the photograph that ships
    slowest_probe_s: float = Field(5.0, gt=0)  # that a version may take for that photograph
    trusted_key: Path | None = None  # a public key (PEM): versions without a signature by its owner are refused
    cache: str = "~/.cache/cupdisc"  # folder for versions from Cloud Storage; they serve when the storage is away
    storage_timeout_s: float = Field(10.0, gt=0)  # until Cloud Storage is reached, and between two pieces of an answer
    storage_patience_s: float = Field(20.0, gt=0)  # for one object, all attempts together
    photograph_prefixes: str = ""  # gs:// prefixes, separated by commas, that requests may name photographs under
    output_prefixes: str = ""  # gs:// prefixes, separated by commas, that requests may have results written under
    engine: Literal["auto", "openvino", "tensorflow"] = "auto"  # auto: OpenVINO where it is installed
    precision: Literal["auto", "f32", "bf16"] = "auto"  # auto: the segmenter in bf16 where the CPU has it, else f32
    threads: int = Field(0, ge=0)  # that the network may use; 0: all that the process has
    max_live_versions: int = Field(2, ge=2)  # kept loaded: those with a role, and those asked for most recently
    streams: int = Field(0, ge=0)  # calls of one network at a time where several photographs are at work; 0: one a core
    compiled: Path | None = None  # a folder that only the service writes to: networks made ready once start sooner
    max_parallel: int = Field(0, ge=0)  # photographs worked on at the same time; 0: one more than there are cores
    max_queue_length: int = Field(32, ge=1)  # photographs that wait; beyond it a request gets 503, Retry-After
    max_batch: int = Field(8, ge=1)  # photographs in one call of a network
    max_batch_wait_s: float = Field(0.05, ge=0)  # for which a busy network keeps a photograph; then one more call
    deadline_s: float = Field(30.0, gt=0)  # from the photograph's arrival to its answer; later it is 504
    max_photograph_bytes: int = Field(32 * 2**20, ge=1)  # encoded, as sent
    max_photograph_pixels: int = Field(40_000_000, ge=1)  # two of them at once take about 1 GiB
    max_held_bytes: int = Field(512 * 2**20, ge=1)  # of all bodies that are not answered yet; beyond it 503
    upload_timeout_s: float = Field(120.0, gt=0)  # until the whole body has arrived
    max_connections: int = Field(1000, ge=1)  # held at once; then silent ones make room, or 503
    max_connections_per_address: int = Field(0, ge=0)  # 0: any number, as behind a proxy all come from one address
    head_timeout_s: float = Field(10.0, gt=0)  # until the head of a request has arrived
    write_timeout_s: float = Field(30.0, gt=0)  # in which a client has to take 256 KiB of its answer, or the rest
    keep_alive_s: float = Field(5.0, gt=0)  # that an idle connection stays open; longer than the proxy's in front
    stop_delay_s: float = Field(0.0, ge=0)  # after SIGTERM: not ready any more, but still answering
    stop_grace_s: float = Field(30.0, gt=0)  # after that: for what is under way to be answered
    replica: str = Field("", max_length=200)  # this process's name in /v1/versions; empty: the number of the process
    log_format: Literal["auto", "json", "text"] = "auto"  # auto: text on a terminal, else JSON, a line each
    log_level: Literal["debug", "info", "warning", "error"] = "info"  # debug adds the questions of orchestrators
    traces: str = ""  # address of an OpenTelemetry collector, such as http://127.0.0.1:4318/v1/traces; empty: none
    decode_timeout_s: float = Field(4.0, gt=0)  # that decoding one photograph may take; on a busy machine twice as long
    decode_memory_bytes: int = Field(2**30, ge=2**26)  # that decoding one photograph may take
    keys: Path | None = None  # the file of callers that `cupdisc keys` writes; without it, no key is asked for
    open: bool = False  # true: let everybody in from other machines, where something in front keeps strangers out
    issuer: str = ""  # of OpenID Connect tokens that are taken too, for instance https://accounts.google.com
    audience: str = ""  # that those tokens are made out to; needed with an issuer
    rate: str = ""  # requests of one caller, such as 600/minute; one with 8 photographs counts 8; empty: any number
    concurrent: int = Field(0, ge=0)  # requests that one caller may have under way; 0: any number
    wrong_keys: str = "30/minute"  # tries with wrong keys from one address, before it has to wait; empty: any number
    cors_origins: str = ""  # of other sites whose pages may call, separated by commas; empty: none
