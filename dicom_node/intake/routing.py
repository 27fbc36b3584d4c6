"""Who gets which objects of a study, and why not.

Pure: who sent it and the AE table in, recipients and reasons out. By the AE table alone, never by
an address learned from the wire. Reports are sent by it, and the dry run tells what it would do.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydicom.uid import UID

from dicom_node.intake.admit import OWN_RESULT
from dicom_node.ledger.interface import Outgoing
from dicom_node.records import InstanceState, ObjectKind, ResultObject
from dicom_node.settings import Remote
from dicom_node.settings.model import SR_CLASS_UIDS

RELEASES = {
    "at-once": "at once",
    "approve": "after a person has approved",
    "shadow": "never: keep them here to compare (shadow)",
}
"""When results leave, in words, by `Remote.release`."""

_NOT_IN_THE_TABLE = "it is not in the AE table"
_NO_APOLOGY = "it wants no answer where no film of the study was analysed"
_NO_REPORT = "it wants no report, which is all that there is where no film was analysed"
_NO_SENDER = "no destination: no sender of this study is configured"


@dataclass(frozen=True, slots=True)
class Recipient:
    """An AE that gets results: which kinds, in its own order.

    ``held``: for whom they wait, as in `Outgoing`; None: they leave at once.
    """

    ae_title: str
    kinds: tuple[ObjectKind, ...]
    held: Literal["approve", "shadow"] | None


@dataclass(frozen=True, slots=True)
class NoRecipient:
    """An AE that gets nothing of a study, and why."""

    ae_title: str
    reason: str


@dataclass(frozen=True, slots=True)
class Routed:
    """Who gets results of a study, each AE once, and who does not though it is named."""

    recipients: tuple[Recipient, ...]
    left_out: tuple[NoRecipient, ...]

    @property
    def kinds(self) -> frozenset[ObjectKind]:
        """Every kind that somebody gets."""
        return frozenset(kind for each in self.recipients for kind in each.kinds)

    @property
    def reason(self) -> str | None:
        """Why nobody gets anything; None where somebody does."""
        return None if self.recipients else _NO_SENDER


def route(origins: Sequence[str], remotes: Mapping[str, Remote], *, analysed: bool) -> Routed:
    """Decide who gets what of a study that came from ``origins``.

    ``analysed``: whether a film of it was. Where none was there is a small report with the reason,
    for those alone that want an answer always.
    """
    recipients: list[Recipient] = []
    left_out = [NoRecipient(each, _NOT_IN_THE_TABLE) for each in origins if each not in remotes]
    for ae_title in dict.fromkeys(_named(origins, remotes)):
        reason = _why_not(remotes.get(ae_title), analysed=analysed)
        if reason is None:
            recipients.append(_recipient(remotes[ae_title], analysed=analysed))
        else:
            left_out.append(NoRecipient(ae_title, reason))
    return Routed(tuple(recipients), tuple(dict.fromkeys(left_out)))


def parcels(recipient: Recipient, objects: Iterable[ResultObject]) -> list[Outgoing]:
    """Return what one AE gets of a study's objects, the alternatives of each group together."""
    groups: dict[str, list[ResultObject]] = {}
    for item in objects:
        if item.kind in recipient.kinds:
            groups.setdefault(item.group, []).append(item)
    return [Outgoing(recipient.ae_title, tuple(items), recipient.held) for items in groups.values()]


def is_told(state: InstanceState, reason: str | None, *, analysed: bool) -> bool:
    """Whether the report of a study tells of an instance; ``analysed``: whether a film of it was.

    A declined one (a lateral view, our own overlay coming back) changes no report on others, and
    our own result alone is never answered.
    """
    if state is InstanceState.DECLINED:
        return not analysed and reason != OWN_RESULT
    return True


def accepted_sr_class(remote: Remote, accepted: Collection[str]) -> str | None:
    """Return the UID of the first Structured Report class of its list that an AE accepted."""
    wanted = (SR_CLASS_UIDS[name] for name in remote.wanted_sr_classes)
    return next((uid for uid in wanted if uid in accepted), None)


def report_class(remote: Remote, accepted: Collection[str]) -> str:
    """Tell in which Structured Report class an AE would get a report; ``accepted``: last time."""
    chosen = accepted_sr_class(remote, accepted)
    if chosen:
        return f"{UID(chosen).name}: the first of its list that it accepted last time"
    return f"the first that it accepts of {', '.join(remote.wanted_sr_classes)}"


def _named(origins: Sequence[str], remotes: Mapping[str, Remote]) -> Iterator[str]:
    for origin in origins:
        if origin in remotes:
            yield from remotes[origin].destinations


def _why_not(remote: Remote | None, *, analysed: bool) -> str | None:
    if remote is None:
        return _NOT_IN_THE_TABLE
    if analysed:
        return None
    if not remote.answer_always:
        return _NO_APOLOGY
    return None if ObjectKind.REPORT in remote.wanted_objects else _NO_REPORT


def _recipient(remote: Remote, *, analysed: bool) -> Recipient:
    wanted = tuple(ObjectKind(name) for name in remote.wanted_objects)
    kinds = wanted if analysed else (ObjectKind.REPORT,)
    return Recipient(
        remote.ae_title, kinds, None if remote.release == "at-once" else remote.release
    )
