"""OTA packages on the wire: research `iot.md` A11, the forms of single texts from the vendor's SDK."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from api_plugin.iot_batch.paging import PageInfo, iot_time
from include.devices.rows import check_characters
from include.ota.model import Package, PackageType

SOURCES_MOST = 20

Words = AfterValidator(lambda text: text if text is None else check_characters(text))
AppId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,36}$")]
ProductId = AppId
Version = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,256}$")]
ModuleName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]


class ObsLocation(BaseModel):
    """An object in an object store; `sign` is the SHA-256 of the file."""

    model_config = ConfigDict(extra="forbid")

    region_name: str = Field(pattern=r"^[A-Za-z0-9-]{1,256}$")
    bucket_name: str = Field(pattern=r"^[a-z0-9.-]{3,63}$")
    object_key: Annotated[str, Field(min_length=1, max_length=1024), Words]
    sign_method: Literal["SHA256"] = "SHA256"
    sign: str | None = Field(None, pattern=r"^[0-9a-fA-F]{64}$")


class FileLocation(BaseModel):
    """Where the file of a package is."""

    model_config = ConfigDict(extra="forbid")

    obs_location: ObsLocation


class PackageBody(BaseModel):
    """A package to be created."""

    model_config = ConfigDict(extra="forbid")

    app_id: AppId
    package_type: PackageType
    product_id: ProductId | None = None
    module_name: ModuleName | None = None
    version: Version
    support_source_versions: list[Version] | None = Field(None, max_length=SOURCES_MOST)
    description: Annotated[str | None, Field(max_length=1024), Words] = None
    custom_info: Annotated[str | None, Field(max_length=4096), Words] = None
    file_location: FileLocation

    @model_validator(mode="after")
    def _module_has_a_name(self) -> Self:
        """A module is one of a product; nothing else has a module's name."""
        module = self.package_type == "modulePackage"
        if module != (self.module_name is not None):
            raise ValueError("module_name goes with modulePackage, and with nothing else")
        if module and self.product_id is None:
            raise ValueError("product_id is required of a modulePackage")
        return self


class PackageItem(BaseModel):
    """A package in a list."""

    package_id: str
    app_id: str
    package_type: str
    product_id: str | None
    product_name: None = Field(description="not known here")
    module_name: str | None
    version: str
    support_source_versions: list[str] | None
    description: str | None
    custom_info: str | None
    create_time: str


class PackageResponse(PackageItem):
    """A package with the place of its file."""

    file_location: FileLocation


class PackageList(BaseModel):
    """A page of packages, the newest first."""

    packages: list[PackageItem]
    page: PageInfo


def shown(package: Package) -> PackageResponse:
    """Return a package as clients see it."""
    return PackageResponse.model_validate({**_fields(package), "file_location": package.file_location})


def listed(package: Package) -> PackageItem:
    """Return a package as lists show it."""
    return PackageItem.model_validate(_fields(package))


def _fields(package: Package) -> dict[str, object]:
    return {
        "package_id": package.package_id,
        "app_id": package.app_id,
        "package_type": package.package_type,
        "product_id": package.product_id,
        "product_name": None,
        "module_name": package.module_name,
        "version": package.version,
        "support_source_versions": package.support_source_versions,
        "description": package.description,
        "custom_info": package.custom_info,
        "create_time": iot_time(package.created_at),
    }
