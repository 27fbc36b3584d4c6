"""Every setting with its default and its meaning; nothing else is accepted.

This model is the truth for ``ae_config/node.toml`` and ``ae_config/remotes/*.toml``: a test asserts
that the shipped file names each key with the default that stands here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import tzinfo
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from dicom_node.moments import zone_of
from dicom_node.settings.values import (
    AETitle,
    Fingerprint,
    Host,
    MailAddress,
    Network,
    OtherPath,
    Port,
    TimeZone,
    mail_address_or_nothing,
)


def _fault(key: str, what: str, remedy: str) -> PydanticCustomError:
    """Return a fault at ``key`` of a table that names what to do."""
    return PydanticCustomError("fault", "{what}", {"key": key, "what": what, "remedy": remedy})


UidRule = Literal["strict", "lenient"]


class Section(BaseModel):
    """A table of the configuration: unknown keys are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class NodeSection(Section):
    """The node itself: how it is called and how much it takes at once."""

    ae_title: AETitle = Field(
        default="DICOMNODE", description="AE title of this node, 1-16 characters"
    )
    host: Host = Field(default="0.0.0.0", description="address to listen on")  # noqa: S104
    port: int = Field(
        default=11112, ge=0, le=65535, description="port; 0 takes a free one and logs it"
    )
    data_dir: Path = Field(
        default=Path("var"),
        description="spool, ledger and engines; relative to this folder (with the shipped defaults:"
        " to the working directory)",
    )
    timezone: TimeZone = Field(
        default="",
        description="IANA name of the zone in which pages, commands and text reports show times;"
        " empty: the system's; JSON is UTC",
    )
    max_associations: int = Field(default=64, ge=1, le=1024, description="associations at one time")
    max_associations_per_address: int = Field(
        default=32, ge=1, le=1024, description="associations at one time from one address"
    )
    max_pdu_bytes: int = Field(
        default=131072, ge=4096, le=1048576, description="PDU length offered"
    )
    max_object_bytes: int = Field(
        default=536_870_912, ge=1_048_576, description="larger objects are answered 0xA700"
    )
    receive_memory_mb: int = Field(
        default=256,
        ge=128,
        description="megabytes that all associations together may take; who finds none left waits",
    )
    pdu_timeout_seconds: float = Field(
        default=30.0, gt=0, description="a PDU that has begun must be complete within this time"
    )
    min_bytes_per_second: int = Field(
        default=1024,
        ge=0,
        description="slower objects are cut off, measured over pdu_timeout_seconds; 0: none are",
    )
    idle_timeout_seconds: float = Field(
        default=60.0, gt=0, description="an association without a message for so long is aborted"
    )
    min_free_bytes: int = Field(
        default=1_000_000_000, ge=0, description="below this free space, receiving answers 0xA700"
    )
    drain_seconds: float = Field(
        default=20.0, ge=0, description="how long SIGTERM waits for what is in flight"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="least level that is logged"
    )

    @property
    def zone(self) -> tzinfo | None:
        """The zone in which times are shown to people; None: the system's."""
        return zone_of(self.timezone)


class TlsSection(Section):
    """TLS for DICOM (PS3.15 B.12). Without this table: plain DICOM."""

    certificate: Path = Field(description="this node's certificate chain, PEM")
    key: Path = Field(description="its private key, PEM, readable by the node's user only")
    ca: Path = Field(description="the CA that signed the peers' certificates, PEM")
    require_client_certificate: bool = Field(
        default=True, description="peers must show a certificate of this CA"
    )


class AdmissionSection(Section):
    """Whose films are taken, and which are analysed."""

    unknown_ae: Literal["reject", "accept"] = Field(
        default="reject", description="accept stores and analyses, and returns to nobody"
    )
    check_called_ae_title: bool = Field(
        default=True, description="reject calls to another AE title"
    )
    uids: UidRule = Field(
        default="strict",
        description="strict: UIDs as PS3.5 has them; lenient: also with leading zeros",
    )
    body_parts: tuple[str, ...] = Field(
        default=("CHEST", "THORAX", "LUNG"), description="Body Part Examined that is a chest"
    )
    views: tuple[str, ...] = Field(
        default=("PA", "AP"), description="View Position that is frontal"
    )
    when_unspecific: Literal["ask-pixels", "decline"] = Field(
        default="ask-pixels",
        description="what becomes of a film whose header says nothing of the body part",
    )
    max_megapixels: int = Field(
        default=200, ge=1, description="larger images fail without being decoded"
    )
    earlier_findings_first: bool = Field(
        default=True,
        description="films of patients with severe earlier findings go before others that are as"
        " urgent by `[[priority]]` of admission.toml",
    )


class AnalysisSection(Section):
    """Where and how networks run."""

    engine: Literal["auto", "keras", "openvino", "ray"] = Field(
        default="auto",
        description="who computes the networks; auto: OpenVINO on a CPU, where it is installed and"
        " answers as Keras does, else Keras; ray: a Ray cluster (docs/install.md)",
    )
    brain_address: str = Field(
        default="",
        pattern=r"^(https?://[^\s/]+)?$",
        description="where Ray Serve listens, e.g. `http://head:8000`; for the engine `ray`",
    )
    brain_timeout_seconds: float = Field(
        default=60.0,
        gt=0,
        description="how long a question to `brain_address` may take, with every further try; then"
        " its films are given back, and wait",
    )
    device: Literal["auto", "gpu", "cpu"] = Field(
        default="auto", description="auto takes a GPU if any"
    )
    gpu_memory_growth: bool = Field(
        default=True, description="take GPU memory as needed, not all at once"
    )
    suite: tuple[str, ...] = Field(
        default=(
            "covidnet-pyramid",
            "opacity-map",
            "opacity-zones",
            "opacity-extent-geographic",
            "opacity-extent-opacity",
        ),
        description="bundles to run, from models/; the first detection network gives the finding;"
        " for films that no `[[suites]]` fits",
    )
    shadow: tuple[str, ...] = Field(
        default=(),
        description="bundles that run beside the suites on films that get analysed, and are never"
        " reported (`dicom-node models compare`); those that declare what they say alone",
    )
    gate: str = Field(
        default="chest-gate",
        description="bundle that looks at a film first: declines what is no frontal chest "
        "radiograph, sets right what lies inverted or turned; empty: lung outlines decline",
    )
    lungs: str = Field(
        default="lung-unet",
        description="bundle that finds the lungs: shows networks where to look, checks "
        "explanations; empty: none, unless a network needs the lungs",
    )
    models_dir: OtherPath = Field(
        default=None, description="other folder with bundles; empty: shipped"
    )
    batch: int = Field(
        default=8,
        ge=1,
        le=256,
        description="films a GPU sees, or a Ray cluster is asked about, while as many are made"
        " ready; on a CPU a film is one call, and at most so many are in memory",
    )
    batch_wait_ms: int = Field(
        default=20,
        ge=0,
        le=10_000,
        description="how long a GPU's call that is not full waits for films that are made ready",
    )
    lease_seconds: float = Field(
        default=300.0, gt=0, description="a worker silent for so long has lost its film"
    )
    workers: int = Field(
        default=1, ge=1, le=64, description="processes that analyse; each loads the networks"
    )

    @property
    def bundles(self) -> tuple[str, ...]:
        """All bundles that are named here, in the order of the settings; their trunks come along.

        `Settings.bundles` has those of suites, too.
        """
        return (*self.suite, *filter(None, (self.lungs, self.gate)))


class SuiteSection(Section):
    """Networks for some films. Every list that is named must fit, one entry of it is enough.

    A film gets the networks of each suite that fits it, as far as they eat it; one that none fits
    gets `analysis.suite`. AE titles, modalities, body parts and stations are compared whole,
    without case and accents (AE titles: exactly), descriptions by their words.
    """

    name: str = Field(
        pattern=r"^[^\x00-\x1f\x7f\\]{1,64}$", description="what people call it, 1-64 characters"
    )
    networks: tuple[str, ...] = Field(
        min_length=1, description="bundles to run, as in `analysis.suite`"
    )
    calling_ae_titles: tuple[str, ...] = Field(default=(), description="AE titles that sent it")
    modalities: tuple[str, ...] = Field(default=(), description="Modality (0008,0060)")
    body_parts: tuple[str, ...] = Field(default=(), description="Body Part Examined (0018,0015)")
    stations: tuple[str, ...] = Field(default=(), description="Station Name (0008,1010)")
    words: tuple[str, ...] = Field(
        default=(),
        description="words of its descriptions, as in admission.toml; `*` is any letters",
    )


class ReportSection(Section):
    """Who writes the results."""

    workers: int = Field(
        default=0,
        ge=0,
        le=64,
        description="processes that write results; 0: one less than the processor has cores, at"
        " least one",
    )

    @property
    def count(self) -> int:
        """How many processes write results on this machine."""
        return self.workers or max(len(os.sched_getaffinity(0)) - 1, 1)


class ResultsSection(Section):
    """When and in which words the node answers."""

    when: Literal["instance", "study-quiet"] = Field(
        default="study-quiet", description="answer each film at once, or once the study is complete"
    )
    quiet_seconds: float = Field(default=2.0, ge=0, description="a study without news is complete")
    template: str = Field(
        default="chest-radiograph-measurement-report",
        description="report template, from sr_templates/",
    )
    templates_dir: OtherPath = Field(
        default=None, description="other folder with templates; empty: shipped"
    )
    series_number_base: int = Field(
        default=9000,
        ge=0,
        le=99000,
        description="series numbers of results start above this: 9001 SR, 9002 captures, and so on",
    )


class IdentitySection(Section):
    """What in a header is nobody's, beside what the program knows: no course is told by it."""

    placeholder_ids: tuple[str, ...] = Field(
        default=(),
        description="Patient IDs that this site gives to more than one person; * is any signs",
    )
    placeholder_names: tuple[str, ...] = Field(
        default=(), description="names that this site gives to the unknown; * is any signs"
    )
    placeholder_birth_dates: tuple[str, ...] = Field(
        default=(), description="birth dates that this site fills in unknown, YYYYMMDD"
    )


class DeliverySection(Section):
    """How patiently results are delivered."""

    connect_timeout_seconds: float = Field(
        default=10.0, gt=0, description="how long connecting may take, TLS included"
    )
    answer_timeout_seconds: float = Field(
        default=60.0, gt=0, description="how long each answer of the peer may take"
    )
    retry_first_seconds: float = Field(
        default=10.0, gt=0, description="pause before the second attempt"
    )
    retry_longest_seconds: float = Field(
        default=900.0, gt=0, description="the pause doubles up to this"
    )
    keep_hours: float = Field(
        default=168.0, gt=0, description="after this a delivery is parked as expired, and kept"
    )


class RetentionSection(Section):
    """What is kept, and how long."""

    keep_days: int = Field(
        default=30, ge=1, description="how long films and results are kept once all is delivered"
    )
    parked_days: int = Field(
        default=180,
        ge=1,
        description="how long a study is kept whose results a receiver refused, did not take in"
        " time, or nobody approved; said in log and outbox a week before",
    )
    events_days: int = Field(
        default=90,
        ge=1,
        description="how long what happened to a study is told after the study was removed",
    )
    refusals_days: int = Field(
        default=90,
        ge=1,
        description="how long callers that were refused are listed after their last call, and"
        " senders that the AE table does not have",
    )
    audit_days: int = Field(
        default=3650,
        ge=1,
        description="how long the audit trail of the pages is kept; said in log and trail a week"
        " before",
    )
    max_bytes: int = Field(
        default=200_000_000_000,
        ge=1_000_000,
        description="size of the spool above which the oldest finished films go first",
    )


class WebSection(Section):
    """The reading room in the browser."""

    host: Host = Field(
        default="127.0.0.1",
        description="address to listen on; another than this machine's own needs a certificate",
    )
    port: int = Field(
        default=8080, ge=0, le=65535, description="port; 0 takes a free one and logs it"
    )
    certificate: OtherPath = Field(
        default=None, description="certificate chain for https, PEM; empty: http"
    )
    key: OtherPath = Field(
        default=None, description="its private key, PEM, readable by the node's user only"
    )
    names: tuple[str, ...] = Field(
        default=("localhost", "127.0.0.1"),
        description="names by which browsers may call the pages",
    )
    idle_minutes: float = Field(default=30.0, gt=0, description="signed out after so long unused")
    longest_hours: float = Field(default=12.0, gt=0, description="signed out after so long anyway")
    max_upload_bytes: int = Field(
        default=268_435_456, ge=1_048_576, description="larger files are not taken by the pages"
    )
    by_hand_bytes_a_day: int = Field(
        default=4_000_000_000,
        ge=0,
        description="what one user may upload by hand in a day, as it is stored",
    )


class OidcSection(Section):
    """Signing in to the pages with the hospital's accounts (OpenID Connect). Absent: users here."""

    issuer: str = Field(
        pattern=r"^https?://[^\s]+$", description="the provider, exactly as it calls itself"
    )
    client_id: str = Field(min_length=1, description="how the provider knows this node")
    client_secret: Path = Field(
        description="file with the secret it gave, readable by the node's user only"
    )
    groups_claim: str = Field(default="groups", description="claim with a person's groups")
    name_claim: str = Field(default="preferred_username", description="claim with the name")
    readers: tuple[str, ...] = Field(default=(), description="groups that read and comment")
    operators: tuple[str, ...] = Field(default=(), description="groups that also steer")
    admins: tuple[str, ...] = Field(default=(), description="groups that also manage users")


class MonitorSection(Section):
    """What watches the node: `/healthz`, `/readyz` and `/metrics` on a port of their own."""

    host: Host = Field(
        default="127.0.0.1",
        description="address to listen on; there is no sign-in, and nothing of a patient is told",
    )
    port: int = Field(
        default=11180, ge=0, le=65535, description="port; 0 takes a free one and logs it"
    )
    addresses: tuple[Network, ...] = Field(
        default=(), description="networks that may ask; empty: whoever reaches the port"
    )


class AlarmsSection(Section):
    """Who is told that something is wrong, once when it begins and once when it ends."""

    webhook: str = Field(
        default="",
        pattern=r"^(https?://[^\s]+)?$",
        description="address that gets each alarm as JSON by POST; empty: none",
    )
    webhook_token: OtherPath = Field(
        default=None,
        description="file with a token for `Authorization: Bearer`, readable by the node's user"
        " only; empty: none",
    )
    mail_to: tuple[MailAddress, ...] = Field(
        default=(), description="who gets each alarm by e-mail; empty: nobody"
    )
    mail_from: Annotated[str, AfterValidator(mail_address_or_nothing)] = Field(
        default="", description="the sender of these e-mails"
    )
    smtp_host: Host = Field(default="", description="server that takes e-mails")
    smtp_port: Port = Field(default=587, description="its port: 587 for starttls, 465 for tls")
    smtp_security: Literal["starttls", "tls", "none"] = Field(
        default="starttls",
        description="none crosses the network in the clear, and takes no password",
    )
    smtp_ca: OtherPath = Field(
        default=None, description="CA of its certificate, PEM; empty: the system's"
    )
    smtp_user: str = Field(default="", description="name to sign in with there; empty: none")
    smtp_password: OtherPath = Field(
        default=None, description="file with the password, readable by the node's user only"
    )
    unreachable_minutes: float = Field(
        default=15.0, gt=0, description="a destination that took nothing for so long is an alarm"
    )
    restarts: int = Field(
        default=5, ge=2, description="a role that died so often in ten minutes is an alarm"
    )
    ill_minutes: float = Field(
        default=2.0, gt=0, description="a role that is not well for so long is an alarm"
    )
    no_film_hours: float = Field(
        default=0.0,
        ge=0,
        description="no film from anybody for so long is an alarm; 0: none, for sites that rest",
    )
    keep_days: int = Field(default=365, ge=1, description="how long alarms that ended are listed")

    @property
    def channels(self) -> tuple[str, ...]:
        """How people are told: `webhook`, `mail`."""
        wanted = {"webhook": bool(self.webhook), "mail": bool(self.mail_to)}
        return tuple(name for name, is_wanted in wanted.items() if is_wanted)


class Settings(Section):
    """The whole of ``node.toml``."""

    node: NodeSection = NodeSection()
    tls: TlsSection | None = None
    admission: AdmissionSection = AdmissionSection()
    analysis: AnalysisSection = AnalysisSection()
    suites: tuple[SuiteSection, ...] = ()
    report: ReportSection = ReportSection()
    results: ResultsSection = ResultsSection()
    identity: IdentitySection = IdentitySection()
    delivery: DeliverySection = DeliverySection()
    retention: RetentionSection = RetentionSection()
    web: WebSection = WebSection()
    oidc: OidcSection | None = None
    monitor: MonitorSection = MonitorSection()
    alarms: AlarmsSection = AlarmsSection()

    @property
    def networks(self) -> tuple[str, ...]:
        """Every network that some film may get, each once: of `analysis.suite`, then of suites."""
        named = (self.analysis.suite, *(suite.networks for suite in self.suites))
        return tuple(dict.fromkeys(name for names in named for name in names))

    @property
    def bundles(self) -> tuple[str, ...]:
        """All bundles that are named, in the order of the settings; their trunks come along."""
        beside = filter(None, (self.analysis.lungs, self.analysis.gate))
        return tuple(dict.fromkeys((*self.networks, *beside)))


ObjectName = Literal[
    "sr", "capture", "overlays", "presentation", "segmentation", "document", "key-objects"
]
SrClassName = Literal["comprehensive", "comprehensive-3d", "enhanced", "basic-text"]
SR_CLASS_UIDS: Mapping[SrClassName, str] = {
    "comprehensive": "1.2.840.10008.5.1.4.1.1.88.33",
    "comprehensive-3d": "1.2.840.10008.5.1.4.1.1.88.34",
    "enhanced": "1.2.840.10008.5.1.4.1.1.88.22",
    "basic-text": "1.2.840.10008.5.1.4.1.1.88.11",
}
"""SOP Class UID of each Structured Report class."""

CompressionName = Literal["none", "rle", "jpeg-ls", "jpeg-2000"]
COMPRESSION_UIDS: Mapping[CompressionName, str] = {
    "rle": "1.2.840.10008.1.2.5",
    "jpeg-ls": "1.2.840.10008.1.2.4.80",
    "jpeg-2000": "1.2.840.10008.1.2.4.90",
}
"""Transfer Syntax UID of each way to compress a picture without loss."""

Viewer = Literal["generic", "ohif", "weasis", "horos", "air", "text"]

_SR_CLASSES: tuple[SrClassName, ...] = (
    "comprehensive",
    "comprehensive-3d",
    "enhanced",
    "basic-text",
)

PRESETS: Mapping[Viewer, tuple[tuple[ObjectName, ...], tuple[SrClassName, ...]]] = {
    "generic": (("sr", "capture"), _SR_CLASSES),
    "ohif": (("sr", "capture"), _SR_CLASSES),
    "weasis": (("sr", "capture", "presentation"), _SR_CLASSES),
    # Horos takes no Comprehensive 3D SR.
    "horos": (("sr", "capture"), ("comprehensive", "enhanced", "basic-text")),
    # IHE AI Results names Comprehensive 3D SR and Segmentation.
    "air": (
        ("sr", "capture", "segmentation"),
        ("comprehensive-3d", "comprehensive", "enhanced", "basic-text"),
    ),
    "text": (("sr", "capture", "document"), ("basic-text", "enhanced", "comprehensive")),
}
"""Objects and Structured Report classes for each kind of viewer (docs/viewers.md)."""


class Remote(Section):
    """One remote AE: one file in ``remotes/``."""

    ae_title: AETitle = Field(description="AE title of the remote, exactly as it calls")
    host: Annotated[Host, Field(min_length=1)] | None = Field(
        default=None, description="where results are sent to"
    )
    port: Port | None = Field(
        default=None, description="its DICOM port for results (never the port it calls from)"
    )
    addresses: tuple[Network, ...] = Field(
        default=(), description="networks it may call from; empty: anywhere"
    )
    certificates: tuple[Fingerprint, ...] = Field(
        default=(),
        description="SHA-256 fingerprints of the certificates it may call with (TLS); empty: any"
        " that tls.ca has signed",
    )
    may_send: bool = Field(default=True, description="whether it may C-STORE to this node")
    results_to: tuple[AETitle, ...] = Field(
        default=(), description="AE titles that get the results; empty: itself, the sending AE"
    )
    viewer: Viewer = Field(
        default="generic",
        description="what its people look at results with: chooses objects and sr_classes",
    )
    objects: tuple[ObjectName, ...] = Field(
        default=(), description="which results it gets; empty: those for its viewer"
    )
    sr_classes: tuple[SrClassName, ...] = Field(
        default=(),
        description="Structured Report classes, most wanted first: the first that it accepts is"
        " sent; empty: those for its viewer",
    )
    capture_compression: CompressionName = Field(
        default="none",
        description="how captures and overlays are compressed for it, without loss, where it"
        " accepts that: saves its disk and a slow line, and costs this node time",
    )
    answer_always: bool = Field(
        default=False,
        description="send a small report with the reason also where no film of a study could be"
        " analysed",
    )
    release: Literal["at-once", "approve", "shadow"] = Field(
        default="at-once",
        description="send results to it at once, after a person has approved, or never (shadow:"
        " they are kept to be looked at)",
    )
    case_insensitive: bool = Field(default=False, description="accept its AE title in any case")
    tls: bool = Field(default=False, description="send to it over TLS")

    @model_validator(mode="after")
    def _where_results_go(self) -> Remote:
        if (self.host is None) != (self.port is None):
            raise _fault("port", "host and port belong together", "give both or neither")
        if self.host is None and self.may_send and not self.results_to:
            raise _fault(
                "host",
                "this AE may send, but its results would go nowhere",
                "give host and port, or name another AE in results_to",
            )
        return self

    @property
    def destinations(self) -> tuple[str, ...]:
        """AE titles that get the results of what this AE sent."""
        return self.results_to or (self.ae_title,)

    @property
    def wanted_objects(self) -> tuple[ObjectName, ...]:
        """Which results it gets."""
        return self.objects or PRESETS[self.viewer][0]

    @property
    def compression_uid(self) -> str | None:
        """Transfer Syntax UID in which pictures are offered to it first; None: uncompressed."""
        return COMPRESSION_UIDS.get(self.capture_compression)

    @property
    def wanted_sr_classes(self) -> tuple[SrClassName, ...]:
        """Structured Report classes in its order of preference."""
        return self.sr_classes or PRESETS[self.viewer][1]
