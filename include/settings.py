"""The settings of Carillon: one typed object, read from `CARILLON_*` environment variables.

Nothing else in the project reads `os.environ`. Every setting is described in `docs/operations.md`.
"""

from __future__ import annotations

from functools import cache, lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import available_timezones

from pydantic import AliasChoices, AwareDatetime, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

LOCAL_SECRET_KEY = "local-profile-only"

#: The shortest key of HS256.
JWT_SECRET_BYTES = 32

Network = IPv4Network | IPv6Network


class Settings(BaseSettings):
    """Values from the environment; a wrong one stops the process with the name of the variable."""

    model_config = SettingsConfigDict(env_prefix="CARILLON_", extra="ignore", populate_by_name=True)

    # --- where things are
    home: Path = Path(".carillon")
    host: str = "127.0.0.1"
    port: int = Field(8080, ge=1, le=65535)
    profile: Literal["local", "production"] = "local"

    # --- how many of each `./carillon up` starts
    schedulers: int = Field(1, ge=1, le=8)
    triggerers: int = Field(1, ge=1, le=8)
    start_timeout_seconds: float = Field(240.0, gt=0)

    # --- Postgres
    database_url: SecretStr | None = Field(
        None, validation_alias=AliasChoices("CARILLON_DATABASE_URL", "AIRFLOW_CONN_CARILLON_DB")
    )
    statement_timeout_seconds: float = Field(30.0, gt=0)
    pool_size: int = Field(8, ge=1, le=100)

    # --- secrets
    secret_key: SecretStr = SecretStr(LOCAL_SECRET_KEY)

    # --- time
    timezone: str = "Asia/Shanghai"
    lead_seconds: float = Field(15.0, ge=1, le=45)
    misfire_threshold_seconds: float = Field(15.0, ge=0)
    misfire_grace_seconds: float = Field(3600.0, gt=0)
    misfire_skip_grace_seconds: float = Field(60.0, gt=0)

    # --- firing
    senders: int = Field(32, ge=1, le=1024)
    per_host_limit: int = Field(128, ge=1, le=1024)
    retry_in_run_seconds: float = Field(60.0, ge=0)
    definitions_per_shard: int = Field(2000, ge=1)

    # --- billing
    billing_workers: int = Field(2, ge=1, le=64)

    # --- device timers
    timer_first_day: Literal["sunday", "monday"] = "sunday"
    timer_service_id: str = Field("timer", min_length=1, max_length=64)
    timer_command_name: str = Field("set", min_length=1, max_length=64)
    timer_timeout_seconds: float = Field(20.0, gt=0, le=120)
    timer_offline: Literal["skip", "deliver_when_online", "shadow_desired"] = "skip"
    timer_offline_ttl_seconds: float = Field(3600.0, ge=1, le=604_800)

    # --- batch tasks
    batch_shards: int = Field(4, ge=1, le=64)
    batch_in_flight: int = Field(512, ge=1, le=10_000)
    batch_command_timeout_seconds: float = Field(20.0, gt=0, le=120)
    batch_actions_all_types: bool = True
    batch_list_all_types: bool = False

    # --- maintenance
    maintenance_speed: float = Field(1.0, ge=1, le=1_000_000)
    maintenance_epoch: AwareDatetime | None = None
    maintenance_block: str = Field("mixtimer", pattern=r"^[A-Za-z0-9_-]{1,64}$")

    # --- outbound calls
    egress_allow: Annotated[tuple[Network, ...], NoDecode] = ()
    callback_timeout_seconds: float = Field(10.0, gt=0, le=3600)
    response_limit_bytes: int = Field(1_048_576, ge=1024)
    event_timeout_seconds: float = Field(10.0, gt=0, le=120)
    response_kept_characters: int = Field(65_536, ge=256)

    # --- devices
    gateway_connection: SecretStr | None = Field(
        None, validation_alias=AliasChoices("CARILLON_GATEWAY_CONNECTION", "AIRFLOW_CONN_DEVICE_GATEWAY")
    )

    # --- upgrades of devices
    upgrade_online_seconds: float = Field(90_000.0, gt=0)
    upgrade_version_seconds: float = Field(180.0, gt=0)
    upgrade_result_seconds: float = Field(86_400.0, gt=0)
    upgrade_verify_seconds: float = Field(600.0, gt=0)
    upgrade_ask_seconds: float = Field(60.0, gt=0)
    upgrade_quiet_seconds: float = Field(900.0, gt=0)
    upgrade_notice: Literal["v1", "v2"] = "v2"
    upgrade_file_url: str = "https://{bucket_name}.obs.{region_name}.myhuaweicloud.com/{object_key}"
    # --- uploaded lists of devices
    batch_file_rows: int = Field(100_000, ge=1, le=1_000_000)
    batch_file_limit_bytes: int = Field(20_971_520, ge=1024)

    # --- REST
    open_apis: Annotated[dict[str, tuple[Network, ...]], NoDecode] = Field(default_factory=dict)
    request_limit_bytes: int = Field(8_388_608, ge=1024)
    login_hours: float = Field(24.0, gt=0, le=8760)

    # --- JSON Web Tokens, the credential of the device timers' API
    jwt_secret: SecretStr | None = None
    jwt_jwks: str | None = None
    jwt_user_claim: str = Field("sub", min_length=1)
    jwt_leeway_seconds: float = Field(0.0, ge=0, le=300)
    jwt_audience: str | None = None
    jwt_issuer: str | None = None

    # --- logging
    log_format: Literal["text", "json"] = "text"
    log_level: str = "INFO"

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if value not in _known_zones():
            raise ValueError(f"{value!r} is not an IANA time zone")
        return value

    @field_validator("egress_allow", mode="before")
    @classmethod
    def _split_networks(cls, value: object) -> object:
        return _networks(value) if isinstance(value, str) else value

    @field_validator("open_apis", mode="before")
    @classmethod
    def _split_open_apis(cls, value: object) -> object:
        """Read `crontab=10.0.0.0/8,192.168.1.0/24;maintenance=10.0.0.0/8`."""
        if not isinstance(value, str):
            return value
        pairs = (item.partition("=") for item in value.split(";") if item.strip())
        return {name.strip(): _networks(networks) for name, _, networks in pairs}

    @field_validator("jwt_secret")
    @classmethod
    def _long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value().encode()) < JWT_SECRET_BYTES:
            raise ValueError(f"needs {JWT_SECRET_BYTES} bytes at least (RFC 7518, section 3.2)")
        return value

    @model_validator(mode="after")
    def _fast_from_a_moment(self) -> Settings:
        if self.maintenance_speed != 1 and self.maintenance_epoch is None:
            raise ValueError("CARILLON_MAINTENANCE_SPEED needs CARILLON_MAINTENANCE_EPOCH")
        return self

    @model_validator(mode="after")
    def _no_default_secret_in_production(self) -> Settings:
        if self.profile == "production" and self.secret_key.get_secret_value() == LOCAL_SECRET_KEY:
            raise ValueError("CARILLON_SECRET_KEY must be set outside the local profile")
        return self


@cache
def _known_zones() -> frozenset[str]:
    """Look for the time zones on the disk once, which takes 10 ms."""
    return frozenset(available_timezones())


def _networks(text: str) -> tuple[Network, ...]:
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """Return the settings of this process, read once."""
    return Settings()
