"""Everything that can go wrong, as one tree.

::

    NodeError
    ├── SettingsError                a configuration that cannot be used
    ├── Unavailable                  a fault of the house, never of the film: wait and try again
    │   ├── DiskFull
    │   ├── SpoolUnwritable
    │   ├── SpoolUnreadable
    │   ├── LedgerUnavailable
    │   ├── DeviceUnavailable
    │   ├── BrainUnavailable
    │   └── BrainChanged
    ├── StoreError                   an instance that is not taken; each leaf has a DIMSE status
    │   ├── SopInstanceUidInvalid
    │   ├── DataSetMismatch
    │   ├── DataSetUnreadable
    │   ├── IdentifierMissing
    │   ├── IdentifierInvalid
    │   ├── SopClassNotAccepted
    │   ├── TransferSyntaxNotAccepted
    │   └── InstanceTooLarge
    ├── SpoolError
    │   ├── SpooledFileMissing
    │   └── SpooledFileDamaged
    ├── LedgerError
    │   ├── TransitionRefused
    │   ├── RowMissing
    │   ├── LedgerMissing
    │   ├── LeaseLost
    │   ├── SchemaTooNew
    │   └── SqliteAffected
    ├── ImageError                   a stored film that cannot be analysed
    │   ├── HeaderUnreadable
    │   ├── PixelDataMissing
    │   ├── PixelDataTruncated
    │   ├── PixelDataTooLarge
    │   ├── PhotometricInterpretationUnsupported
    │   ├── TransferSyntaxUnsupported
    │   ├── PixelDataUndecodable
    │   └── FilmWithoutContrast
    ├── BundleError                  a model bundle that cannot be used
    │   ├── BundleMissing
    │   ├── BundleDamaged
    │   └── BundleContractBroken
    ├── AnalysisError
    │   ├── NoAnswer                 a declared network gave none to a film; others did
    │   │   └── OutputUnusable
    │   └── OutputNotFinite
    ├── ResultError                  a result that may not leave
    │   ├── IdentityNotPreserved
    │   └── TemplateInvalid
    ├── DeliveryError                an attempt to deliver that did not succeed
    │   ├── PeerUnreachable
    │   ├── AssociationRefused
    │   ├── PeerSilent
    │   └── DestinationUnknown
    ├── SignInError                  somebody is not let in to the pages
    │   ├── ProviderUnreachable
    │   └── SignInRefused
    ├── BackupError                  a backup that cannot be made or taken
    │   ├── BackupMissing
    │   ├── BackupDamaged
    │   └── BackupUnderWay
    ├── TrainingError
    └── RoleError                    a process of the node that cannot start or stay
        ├── NodeAlreadyRunning
        ├── PortUnavailable
        ├── EngineMissing
        └── EngineUnproved

The message says what happened and to which object; ``remedy`` says what to do. Neither ever holds
a patient's name, identifier or birth date: Study and SOP UIDs are the only identifiers allowed.
"""

from __future__ import annotations

import errno
from typing import ClassVar


class NodeError(Exception):
    """Root of every error that a person can meet. ``remedy`` tells what to do next."""

    default_remedy: ClassVar[str] = "Look at the log of the role that reported this."

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy or self.default_remedy

    def __str__(self) -> str:
        return self.message


class SettingsError(NodeError):
    """The configuration cannot be used. ``faults`` lists every fault as ``file: key: what``."""

    default_remedy = "Correct the named file, then run `dicom-node config check`."

    def __init__(
        self, message: str, *, faults: tuple[str, ...] = (), remedy: str | None = None
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.faults = faults


class Unavailable(NodeError):
    """A part of the house (disk, spool, ledger, device, brain) does not do its work now.

    Never charged to the film or study at hand: what was taken is given back uncounted, waited for,
    and done again.
    """

    default_remedy = "Mend what is named; the node goes on by itself."


class DiskFull(Unavailable):
    """No room, or less than the reserve, is left for received objects (0xA700)."""

    default_remedy = "Free disk space in data_dir or lower retention; receiving resumes by itself."


class SpoolUnwritable(Unavailable):
    """The spool folder cannot be written durably (0xA700)."""

    default_remedy = "Check the mount, owner and permissions of data_dir."


class SpoolUnreadable(Unavailable):
    """No file of the spool can be read now: the disk is not there, or the process is at a limit."""

    default_remedy = "Check the mount, owner and permissions of data_dir, and the limits of files."


class LedgerUnavailable(Unavailable):
    """The ledger could not commit in time (0xA700)."""

    default_remedy = "Check disk and load of the machine; the sender will try again."


class DeviceUnavailable(Unavailable):
    """The configured device is not there."""

    default_remedy = 'Set analysis.device to "auto" or "cpu", or install dicom-node[gpu].'


class BrainUnavailable(Unavailable):
    """What answers films in another process or on another machine is slow, or gone."""

    default_remedy = "Look whether what analysis.engine names runs and can be reached from here."


class BrainChanged(Unavailable):
    """What answers films elsewhere is another engine than the one that this process began with."""

    default_remedy = "Nothing to do: the role starts anew, and findings name the new engine."


class StoreError(NodeError):
    """An instance is not taken. The sender is told by a DIMSE status (`dimse/status.py`)."""

    default_remedy = "Correct the object at the sender and send it again."


_ODD_UIDS = (
    "Correct the UIDs at the sender; if they only have leading zeros, set admission.uids to"
    ' "lenient" in node.toml.'
)


class SopInstanceUidInvalid(StoreError):
    """The SOP Instance UID is no UID: PS3.5 section 9.1, or `admission.uids` (0x0117)."""

    default_remedy = _ODD_UIDS


class DataSetMismatch(StoreError):
    """The data set is not of the announced SOP class or instance (0xA900)."""


class DataSetUnreadable(StoreError):
    """The data set is empty or cannot be parsed (0xC000)."""


class IdentifierMissing(StoreError):
    """Study or Series Instance UID is missing, so the object belongs nowhere (0xC000)."""


class IdentifierInvalid(StoreError):
    """Study or Series Instance UID is no UID: PS3.5 section 9.1, or `admission.uids` (0xC000)."""

    default_remedy = _ODD_UIDS


class SopClassNotAccepted(StoreError):
    """The object is of no SOP class that is stored here (0x0122; by C-STORE it has no context)."""

    default_remedy = "Send radiographs only: CR, DX for presentation, Secondary Capture."


class TransferSyntaxNotAccepted(StoreError):
    """Nothing in this transfer syntax is stored here (0xC122; by C-STORE it has no context)."""

    default_remedy = "Send it in a transfer syntax that the conformance statement lists."


class InstanceTooLarge(StoreError):
    """The object exceeds the node's size limit (0xA700)."""

    default_remedy = (
        "Raise node.max_object_bytes in node.toml if objects of this size are expected."
    )


class SpoolError(NodeError):
    """Bytes that were stored cannot be read back."""

    default_remedy = "Send the film again from the PACS; check the disk of data_dir."


class SpooledFileMissing(SpoolError):
    """The ledger knows the file, the disk does not."""


class SpooledFileDamaged(SpoolError):
    """The file's SHA-256 is not the one recorded when it was received."""


class LedgerError(NodeError):
    """The ledger refuses, or cannot be used."""


class TransitionRefused(LedgerError):
    """The transition is not in the table of `records.py`."""

    default_remedy = "List the states with `dicom-node cases show ID` or `dicom-node outbox list`."


class RowMissing(LedgerError):
    """Nothing with this identifier is in the ledger."""

    default_remedy = "List what is there with `dicom-node cases` or `dicom-node outbox`."


class LedgerMissing(LedgerError):
    """Films are stored, and the ledger that knows them is gone: never begun anew unasked."""

    default_remedy = (
        "Mount the disk that holds it, or restore it: `dicom-node restore BACKUP`; without one,"
        " `dicom-node restore --from-spool` takes the stored films in again, and answers their"
        " senders."
    )


class LeaseLost(LedgerError):
    """The lease expired and another worker may have the row: the outcome is thrown away."""

    default_remedy = "Nothing to do: the work is done again. Raise the lease if it happens often."


class SchemaTooNew(LedgerError):
    """The ledger was written by a newer dicom-node."""

    default_remedy = "Install the newer version again, or restore the backup made before upgrading."


class SqliteAffected(LedgerError):
    """This SQLite has the WAL-reset bug (3.7.0 to 3.51.2) that loses commits of several writers."""

    default_remedy = "Install pysqlite3 (pip install 'pysqlite3>=0.6.1'), which brings a fixed one."


class ImageError(NodeError):
    """The film is stored, but cannot be analysed. The message becomes the reason of `failed`."""

    default_remedy = "Open the film in the PACS; if it is intact there, send it again."


class HeaderUnreadable(ImageError):
    """The data set's header cannot be parsed."""


class PixelDataMissing(ImageError):
    """There is no Pixel Data, or an attribute needed to read it is missing."""


class PixelDataTruncated(ImageError):
    """There is less Pixel Data than Rows and Columns ask for: never padded, never analysed."""


class PixelDataTooLarge(ImageError):
    """The size computed from the header exceeds the limit; nothing was decoded."""


class PhotometricInterpretationUnsupported(ImageError):
    """The Photometric Interpretation is not MONOCHROME1 or MONOCHROME2."""


class TransferSyntaxUnsupported(ImageError):
    """No codec for this Transfer Syntax is installed."""


class PixelDataUndecodable(ImageError):
    """The codec refuses the Pixel Data."""


class FilmWithoutContrast(ImageError):
    """Every pixel has the same value: there is nothing to see."""


class BundleError(NodeError):
    """A model bundle cannot be used."""

    default_remedy = (
        "Run `dicom-node models verify`; install the package again if files are damaged."
    )


class BundleMissing(BundleError):
    """There is no bundle of this id."""


class BundleDamaged(BundleError):
    """A file is missing or its digest is not the manifest's."""


class BundleContractBroken(BundleError):
    """The manifest is invalid, or the network does not do what the manifest says.

    ``faults`` lists every fault of a manifest as ``file:line: key: what``, where it is one.
    """

    def __init__(
        self, message: str, *, faults: tuple[str, ...] = (), remedy: str | None = None
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.faults = faults


class AnalysisError(NodeError):
    """A network could not give a usable answer."""


class NoAnswer(AnalysisError):
    """A declared network gave no answer to a film: it crashed, took too long or too much.

    ``why``: the reason alone, where the network is named beside it.
    """

    default_remedy = "Run `dicom-node models check` on the bundle; other networks are not affected."

    def __init__(self, message: str, *, why: str = "", remedy: str | None = None) -> None:
        super().__init__(message, remedy=remedy)
        self.why = why or message


class OutputUnusable(NoAnswer):
    """What a declared network gave is not what its manifest says."""


class OutputNotFinite(AnalysisError):
    """NaN, infinity or a value outside its range: no result is sent."""

    default_remedy = "Run `dicom-node models verify`, then `dicom-node cases retry ID`."


class ResultError(NodeError):
    """A result that may not leave the node."""


class IdentityNotPreserved(ResultError):
    """Read back, the patient or study is not exactly the source's."""

    default_remedy = (
        "Correct the Specific Character Set of the film at its source and send it again."
    )


class TemplateInvalid(ResultError):
    """A report template cannot be used; the message names file and key."""

    default_remedy = "Correct the named template in sr_templates."


class DeliveryError(NodeError):
    """An attempt to deliver did not succeed; the objects stay in the outbox."""

    default_remedy = "The node tries again by itself; see `dicom-node outbox`."


class PeerUnreachable(DeliveryError):
    """No TCP or TLS connection within the time limit."""


class AssociationRefused(DeliveryError):
    """The peer rejected or aborted the association."""


class PeerSilent(DeliveryError):
    """The peer took the association and then did not answer in time."""


class DestinationUnknown(DeliveryError):
    """No remote with this AE title is configured."""

    default_remedy = "Add the AE with `dicom-node ae add`, then `dicom-node outbox retry`."


class SignInError(NodeError):
    """Somebody is not let in to the pages."""

    default_remedy = "Try again; if it stays so, tell the administrator of this node."


class ProviderUnreachable(SignInError):
    """The hospital's identity provider does not answer, or not as what it should be."""


class SignInRefused(SignInError):
    """The provider's word is not for this sign-in, or the person is in no group that may."""


class BackupError(NodeError):
    """A backup that cannot be made or taken."""


class BackupMissing(BackupError):
    """There is no whole backup in the folder."""

    default_remedy = "Name the folder that was given to `dicom-node backup`."


class BackupDamaged(BackupError):
    """A file of a backup is not what was backed up, or cannot be read."""

    default_remedy = (
        "Take an earlier backup: `dicom-node restore DIR --at NAME`;"
        " `dicom-node restore DIR --list` shows what there is."
    )


class BackupUnderWay(BackupError):
    """Another backup is being made into the same folder."""

    default_remedy = "Wait until it is done, or name another folder."


class TrainingError(NodeError):
    """Training or evaluation cannot start or go on."""

    default_remedy = "Check --data: it must hold cases.csv and images/ (see docs/training.md)."


class RoleError(NodeError):
    """A process of the node cannot start or stay."""


class NodeAlreadyRunning(RoleError):
    """Another node works on the same data_dir."""

    default_remedy = "Stop the other node, or give this one its own data_dir."


class PortUnavailable(RoleError):
    """The configured port cannot be listened on."""

    default_remedy = "Choose another node.port, or stop the process that holds it."


class EngineMissing(RoleError):
    """What analysis.engine names is not installed."""

    default_remedy = (
        "Install it (docs/install.md: `pip install 'dicom-node[cpu]'` brings OpenVINO, and"
        " `pip install 'dicom-node[ray]'` Ray besides), or set"
        ' analysis.engine to "auto" or "keras".'
    )


class EngineUnproved(RoleError):
    """An engine answers the self-test film otherwise than Keras, or cannot compute the networks."""

    default_remedy = (
        'Set analysis.engine to "keras" (with "auto", Keras answers by itself); report it with the'
        " versions and the processor, so that it can be mended."
    )


def listening_remedy(error: OSError, port_key: str, host_key: str) -> str:
    """Return what to do where a port could not be listened on; the keys are those of node.toml."""
    if error.errno in (errno.EACCES, errno.EPERM):
        return (
            f"Ports below 1024 need a privilege: choose another {port_key}, or give the node"
            " CAP_NET_BIND_SERVICE (in a systemd unit: AmbientCapabilities=CAP_NET_BIND_SERVICE)."
        )
    if error.errno == errno.EADDRINUSE:
        return f"Choose another {port_key}, or stop the process that holds it."
    return f"Correct {host_key}: an address of this machine, or 0.0.0.0 for all of them."
