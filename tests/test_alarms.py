"""Alarms: told once when something begins and once when it ends, whoever is restarted or down."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dicom_node import logs, resources
from dicom_node.cli.main import app
from dicom_node.errors import LedgerUnavailable, SettingsError
from dicom_node.ledger.alarms import ENDED, RISEN
from dicom_node.ledger.sqlite import SqliteLedger
from dicom_node.line.alarm_channels import Untold, by_mail, by_webhook
from dicom_node.line.alarm_words import FACTS, shipped_or_own_wording, wording_of
from dicom_node.line.health import health_of
from dicom_node.line.troubles import troubles
from dicom_node.line.watchman import LEDGER_SECONDS, SETTLE_SECONDS, Watchman
from dicom_node.logs import Log
from dicom_node.records import (
    ROLES,
    Alarm,
    AlarmKind,
    AlarmNotice,
    DeliveryState,
    InstanceState,
    Worker,
)
from dicom_node.settings import Configuration, load_configuration
from tests.certificates import make_keys
from tests.ledger_kit import (
    WORKER,
    Clock,
    arrival,
    claim,
    claim_delivery,
    delivery_in,
    fresh_ledger,
)
from tests.monitor_kit import mailbox, site, webhook

ME = Worker("monitor", "me")
HOOK = 'min_free_bytes = 0\n[alarms]\nwebhook = "http://127.0.0.1:9/"\n'


class Seconds:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Post:
    """A channel that keeps what it was told, or takes nothing while it is ``down``."""

    def __init__(self) -> None:
        self.down: Untold | None = None
        self.taken: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self.asked = 0

    def __call__(self, _: Any, notice: AlarmNotice, wording: Any) -> Untold | None:
        self.asked += 1
        if self.down is None:
            self.taken.append((str(notice.alarm.kind), notice.alarm.subject, notice.what))
            self.texts.append(wording.message(notice).body)
        return self.down


class Ward:
    """A site, its ledger, a watchman with a channel, and clocks that a test moves."""

    def __init__(self, folder: Path, text: str = HOOK) -> None:
        self.configuration: Configuration = site(folder, f"[node]\n{text}", "PACS")
        self.wall, self.clock, self.post = Clock(datetime.now(UTC)), Seconds(), Post()
        self.ledger = fresh_ledger(self.configuration.ledger_path, who="test", clock=self.wall)
        self.said = io.StringIO()
        logs.configure(stream=self.said, strict=True)
        self.watchman = self.anew()

    def anew(self) -> Watchman:
        """Return a watchman as a process has it that was started again."""
        self.watchman = Watchman(
            self.configuration, ME, Log("monitor"), clock=self.clock,
            channels={"webhook": self.post},
        )  # fmt: skip
        self.watchman.furnish(self.ledger)
        return self.watchman

    def beat(self, *, without: str = "") -> None:
        for role in ROLES:
            if role != without:
                worker = ME if role == "monitor" else Worker(role, role)
                self.ledger.beat(worker, "working", None)

    def look(self, seconds: float = 0.0, *, without: str = "") -> list[tuple[str, str, str]]:
        """Let time pass, look and tell; return everything that was taken so far."""
        self.clock.now += seconds
        self.wall.tick(seconds)
        self.beat(without=without)
        self.watchman.look()
        self.watchman.tell("webhook")
        return self.post.taken


@pytest.fixture
def ward(tmp_path: Path) -> Iterator[Ward]:
    made = Ward(tmp_path)
    yield made
    made.ledger.close()


def refused(ward: Ward, number: int = 1) -> Any:
    return delivery_in(ward.ledger, DeliveryState.REFUSED, number)


PARKED = ("parked", "PACS", RISEN)
OVER = ("parked", "PACS", ENDED)


def test_nothing_wrong_is_told_to_nobody(ward: Ward) -> None:
    assert ward.look() == ward.look(600) == []
    assert ward.ledger.alarms_up() == []


def test_what_begins_is_told_once_and_what_ends_once(ward: Ward) -> None:
    delivery = refused(ward)
    for _ in range(3):
        assert ward.look(30) == [PARKED]
    ward.ledger.resend(delivery.id, "ada", 100)
    assert ward.look(1) == [PARKED], "what comes and goes is one alarm"
    assert ward.look(SETTLE_SECONDS) == [PARKED, OVER]
    assert ward.look(600) == [PARKED, OVER]
    (alarm,) = ward.ledger.latest_alarms(10)
    assert alarm.ended_at is not None
    events = [json.loads(line)["event"] for line in ward.said.getvalue().splitlines()]
    assert events == ["alarm.raised", "alarm.ended"]


def test_whoever_is_started_again_does_not_tell_it_again(ward: Ward) -> None:
    delivery = refused(ward)
    assert ward.look() == [PARKED]
    ward.anew()
    assert ward.look(5) == [PARKED]
    ward.ledger.resend(delivery.id, "ada", 100)
    ward.anew()
    assert ward.look(1) == [PARKED]
    assert ward.look(SETTLE_SECONDS) == [PARKED, OVER]


def test_what_a_channel_does_not_take_is_told_later_in_its_order(ward: Ward) -> None:
    delivery = refused(ward)
    ward.post.down = Untold("ConnectError", "Check it.")
    ward.look()
    asked = ward.post.asked
    ward.look(1)
    assert ward.post.asked == asked, "it is not asked without a pause"
    ward.look(60)
    assert ward.post.asked == asked + 1
    ward.ledger.resend(delivery.id, "ada", 100)
    ward.look(1)
    ward.look(SETTLE_SECONDS)
    assert ward.ledger.untold() == {"webhook": 2}
    ward.anew()
    ward.post.down = None
    assert ward.look(100) == [PARKED, OVER]
    assert ward.ledger.untold() == {}
    assert "alarm.untold" in ward.said.getvalue()


def test_a_notice_that_is_refused_for_good_keeps_no_other_back(ward: Ward) -> None:
    refused(ward)
    ward.post.down = Untold("HTTP status 400", "Look there.", final=True)
    for _ in range(12):
        ward.look(1000)
    ward.post.down = None
    assert ward.look(1000) == []
    assert ward.ledger.untold() == {}


def test_a_channel_that_is_configured_no_more_has_nothing_to_tell(ward: Ward) -> None:
    ward.ledger.raise_alarm(AlarmKind.NO_FILM, "", {}, ["mail", "webhook"])
    ward.anew()
    assert ward.ledger.untold() == {"webhook": 1}


def test_of_one_thing_one_alarm_is_up_at_a_time(ward: Ward) -> None:
    assert ward.ledger.raise_alarm(AlarmKind.QUARANTINED, "", {"films": "1"}, ["webhook"])
    assert not ward.ledger.raise_alarm(AlarmKind.QUARANTINED, "", {"films": "2"}, ["webhook"])
    (alarm,) = ward.ledger.alarms_up()
    assert alarm.facts == {"films": "2"}
    assert ward.ledger.untold() == {"webhook": 1}
    assert ward.ledger.end_alarm(alarm.id, ())
    assert not ward.ledger.end_alarm(alarm.id, ())
    assert ward.ledger.raise_alarm(AlarmKind.QUARANTINED, "", {"films": "3"}, ())


def test_alarms_that_ended_long_ago_are_forgotten(ward: Ward) -> None:
    ward.ledger.raise_alarm(AlarmKind.QUARANTINED, "", {}, ["webhook"])
    ward.ledger.raise_alarm(AlarmKind.PARKED, "PACS", {}, ())
    ward.ledger.end_alarm(ward.ledger.alarms_up()[0].id, ["webhook"])
    ward.wall.tick(days=400)
    assert ward.ledger.forget_alarms(500) == 0
    assert ward.ledger.forget_alarms(365) == 1
    assert [alarm.kind for alarm in ward.ledger.latest_alarms(9)] == ["parked"]
    assert ward.ledger.untold() == {}


# What is an alarm


def kinds(ward: Ward, up: set[tuple[AlarmKind, str]] | None = None) -> set[tuple[str, str]]:
    found = troubles(ward.ledger, ward.configuration, up or set())
    return {(str(each.kind), each.subject) for each in found if each.kind != "role-ill"}


def test_a_destination_that_took_nothing_for_long_is_an_alarm_until_it_takes_something(
    ward: Ward,
) -> None:
    delivery_in(ward.ledger, DeliveryState.WAITING)
    ward.wall.tick(minutes=20)
    assert kinds(ward) == set(), "nothing was tried in vain"
    taken = claim_delivery(ward.ledger)
    ward.ledger.postponed(taken.id, WORKER, ward.wall.now, "no connection")
    assert kinds(ward) == {("destination", "PACS")}
    ward.ledger.sent(claim_delivery(ward.ledger).id, WORKER, 0)
    assert kinds(ward) == set()


def test_a_destination_that_is_down_for_a_moment_is_no_alarm(ward: Ward) -> None:
    delivery_in(ward.ledger, DeliveryState.WAITING)
    taken = claim_delivery(ward.ledger)
    ward.ledger.postponed(taken.id, WORKER, ward.wall.now, "no connection")
    assert kinds(ward) == set()
    assert kinds(ward, {(AlarmKind.DESTINATION, "PACS")}) == {("destination", "PACS")}


def test_a_role_that_dies_over_and_over_is_an_alarm(ward: Ward) -> None:
    for _ in range(4):
        ward.ledger.orphaned("token", "analyse")
    assert kinds(ward) == set()
    ward.ledger.orphaned("token", "analyse")
    assert kinds(ward) == {("role-restarts", "analyse")}
    ward.wall.tick(minutes=11)
    assert kinds(ward, {(AlarmKind.ROLE_RESTARTS, "analyse")}) == set()


def test_a_role_that_is_not_well_is_an_alarm_after_a_while(ward: Ward) -> None:
    ward.look()
    assert ward.look(90, without="deliver") == []
    assert ward.look(90, without="deliver") == []
    assert ward.look(90, without="deliver") == [("role-ill", "deliver", RISEN)]
    assert "no sign of life" in ward.post.texts[-1]


def test_a_film_that_was_set_aside_is_an_alarm(ward: Ward) -> None:
    ward.ledger.received(arrival(1))
    for _ in range(2):
        claim(ward.ledger, InstanceState.RECEIVED)
        ward.ledger.orphaned(WORKER)
    assert ward.ledger.claim_instances(InstanceState.RECEIVED, WORKER, 60, 1) == []
    assert kinds(ward) == {("quarantined", "")}


def test_no_film_for_long_is_an_alarm_only_where_a_site_says_so(tmp_path: Path) -> None:
    for number, hours in enumerate((0, 4)):
        ward = Ward(tmp_path / str(number), f"{HOOK}no_film_hours = {hours}\n")
        assert kinds(ward) == set(), "nobody has sent anything yet"
        ward.ledger.received(arrival(1))
        ward.wall.tick(hours=3.9)
        assert kinds(ward) == set()
        ward.wall.tick(hours=0.2)
        assert kinds(ward) == ({("no-film", "")} if hours else set())
        ward.ledger.close()


def test_a_disk_at_its_reserve_is_an_alarm_until_there_is_room_beyond_it(ward: Ward) -> None:
    free = health_of(ward.ledger, ward.configuration).free_bytes
    node = ward.configuration.settings.node
    above = node.model_copy(update={"min_free_bytes": int(free * 0.98)})
    settings = ward.configuration.settings.model_copy(update={"node": above})
    ward.configuration = Configuration(ward.configuration.folder, settings, {})
    assert kinds(ward) == set()
    assert kinds(ward, {(AlarmKind.DISK_RESERVE, "")}) == {("disk-reserve", "")}


def test_what_chores_found_wrong_is_an_alarm(ward: Ward) -> None:
    ward.ledger.found(AlarmKind.SELF_TEST, "chest-gate", "off by 0.5")
    ward.ledger.found(AlarmKind.SELF_TEST, "lung-unet", None)
    ward.ledger.found(AlarmKind.AUDIT_BROKEN, "", "line 7 does not follow from line 6")
    assert kinds(ward) == {("self-test", "chest-gate"), ("audit-broken", "")}


def test_a_ledger_that_is_ill_is_told_though_it_can_keep_nothing(
    ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    ward.look()

    def ill(*_: object) -> None:
        raise LedgerUnavailable("The ledger could not be read: disk I/O error.")

    with monkeypatch.context() as while_ill:
        while_ill.setattr(SqliteLedger, "alarms_up", ill)
        assert ward.look(LEDGER_SECONDS / 2) == []
        assert ward.look(LEDGER_SECONDS) == [("ledger-ill", "", RISEN)]
        assert ward.look(600) == [("ledger-ill", "", RISEN)]
    assert ward.look(1) == [("ledger-ill", "", RISEN), ("ledger-ill", "", ENDED)]


def test_a_ledger_that_lets_itself_be_read_and_takes_nothing_is_ill(ward: Ward) -> None:
    ward.look()
    ward.clock.now += 60
    ward.wall.tick(60)
    ward.watchman.look()  # our own sign of life is a minute old
    ward.watchman.tell("webhook")
    assert ("ledger-ill", "", RISEN) in ward.post.taken


def test_a_ledger_that_cannot_be_opened_is_ill(tmp_path: Path) -> None:
    configuration, clock, post = site(tmp_path, f"[node]\n{HOOK}"), Seconds(), Post()
    early = Watchman(configuration, ME, Log("monitor"), clock=clock, channels={"webhook": post})
    early.look()
    clock.now += LEDGER_SECONDS
    early.look()
    early.tell("webhook")
    assert post.taken == [("ledger-ill", "", RISEN)]


def test_of_a_channel_that_is_down_while_the_ledger_is_ill_nothing_is_lost(
    tmp_path: Path,
) -> None:
    configuration, clock, post = site(tmp_path, f"[node]\n{HOOK}"), Seconds(), Post()
    early = Watchman(configuration, ME, Log("monitor"), clock=clock, channels={"webhook": post})
    post.down = Untold("ConnectError", "Check it.")
    clock.now += LEDGER_SECONDS
    early.look()
    early.tell("webhook")
    early.tell("webhook")
    assert post.asked == 1
    post.down, clock.now = None, clock.now + 60
    early.tell("webhook")
    assert post.taken == [("ledger-ill", "", RISEN)]


# Words


def test_the_shipped_words_are_there_for_every_alarm_and_use_every_fact(tmp_path: Path) -> None:
    words = wording_of(site(tmp_path)).words
    assert set(words.alarms) == set(AlarmKind) == set(FACTS)
    for kind, text in words.alarms.items():
        used = f"{text.title} {text.text} {text.remedy}"
        assert [name for name in FACTS[kind] if f"${name}" not in used] == []


def test_a_site_says_it_in_its_own_words(tmp_path: Path) -> None:
    own = '[alarms.parked]\ntext = "$deliveries Ergebnisse für $subject wurden abgelehnt."\n'
    configuration = site(tmp_path)
    (tmp_path / "alarms.toml").write_text(own, "utf-8")
    alarm = Alarm(3, "parked", "PACS", {"deliveries": "7"}, datetime.now(UTC))
    wording = wording_of(configuration)
    assert wording.sentence(alarm) == "7 Ergebnisse für PACS wurden abgelehnt."
    assert "PACS has not taken" in wording.message(AlarmNotice(1, alarm, RISEN)).subject


@pytest.mark.parametrize(
    ("text", "said"),
    [('[alarms.parked]\ntext = "$patient"\n', "$patient is not known here"),
     ('[alarms.parkt]\ntext = "x"\n', "alarms"), ("risen = 3\n", "risen"), ("[", "TOML")],
)  # fmt: skip
def test_words_with_a_fault_are_named_and_the_shipped_ones_are_used(
    tmp_path: Path, text: str, said: str
) -> None:
    configuration = site(tmp_path)
    (tmp_path / "alarms.toml").write_text(text, "utf-8")
    with pytest.raises(SettingsError) as found:
        wording_of(configuration)
    assert said in str(found.value)
    assert shipped_or_own_wording(configuration).words.risen == "Alarm"
    done = CliRunner().invoke(app, ["config", "check", "--config", str(tmp_path)])
    assert done.exit_code == 1
    assert "alarms.toml" in done.stdout


def test_nothing_in_a_fact_begins_a_line_or_a_header_of_its_own(tmp_path: Path) -> None:
    alarm = Alarm(1, "self-test", "gate\nBcc: x@y", {"reason": "a\r\nb"}, datetime.now(UTC))
    message = wording_of(site(tmp_path)).message(AlarmNotice(1, alarm, RISEN))
    assert "\n" not in message.subject
    assert "\r" not in message.body


# Channels


def notice(what: str = RISEN) -> AlarmNotice:
    begun = datetime(2026, 3, 1, 7, 30, tzinfo=UTC)
    ended = begun + timedelta(hours=2) if what == ENDED else None
    return AlarmNotice(5, Alarm(12, "parked", "PACS", {"deliveries": "4"}, begun, ended), what)


def test_a_webhook_gets_json_that_a_chat_understands(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n", "utf-8")
    (tmp_path / "token").chmod(0o600)
    with webhook() as hook:
        text = f'[alarms]\nwebhook = "{hook.address}"\nwebhook_token = "token"\n'
        configuration = site(tmp_path, text)
        alarms, wording = configuration.settings.alarms, wording_of(configuration)
        assert by_webhook(alarms, notice(), wording) is None
        assert by_webhook(alarms, notice(ENDED), wording) is None
    risen, ended = hook.documents
    assert hook.tokens == ["Bearer secret"] * 2
    assert (risen["id"], risen["alarm"], risen["subject"], risen["state"]) == (
        12, "parked", "PACS", "risen"
    )  # fmt: skip
    assert risen["text"].startswith("[DICOMNODE] Alarm: PACS has not taken some results\n4 results")
    assert risen["until"] is None
    assert ended["until"] == "2026-03-01T09:30:00+00:00"


@pytest.mark.parametrize(
    ("status", "final"), [(301, False), (400, True), (404, True), (429, False), (503, False)]
)
def test_a_webhook_that_does_not_take_it_is_told_with_what_to_do(
    tmp_path: Path, status: int, final: bool
) -> None:
    with webhook() as hook:
        hook.status = status
        configuration = site(tmp_path, f'[alarms]\nwebhook = "{hook.address}"\n')
        untold = by_webhook(configuration.settings.alarms, notice(), wording_of(configuration))
    assert untold is not None
    assert (untold.reason, untold.final) == (f"HTTP status {status}", final)
    assert untold.remedy


def test_a_webhook_that_is_not_there_is_told(tmp_path: Path) -> None:
    configuration = site(tmp_path, '[alarms]\nwebhook = "http://127.0.0.1:1/"\n')
    untold = by_webhook(configuration.settings.alarms, notice(), wording_of(configuration))
    assert untold is not None
    assert not untold.final


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def mails(tmp_path: Path, keys: Path) -> Callable[..., Configuration]:
    """Return a site that mails to a server's port."""

    def made(port: int, more: str = "", security: str = "starttls") -> Configuration:
        (tmp_path / "password").write_text("hush\n", "utf-8")
        (tmp_path / "password").chmod(0o600)
        text = (
            f'[alarms]\nmail_to = ["pacs@hospital.example", "night@hospital.example"]\n'
            f'mail_from = "node@hospital.example"\nsmtp_host = "127.0.0.1"\nsmtp_port = {port}\n'
            f'smtp_security = "{security}"\nsmtp_ca = "{keys / "hospital.pem"}"\n{more}'
        )
        return site(tmp_path, text)

    return made


SIGN_IN = 'smtp_user = "node"\nsmtp_password = "password"\n'


def test_an_e_mail_goes_by_starttls_and_the_password_never_in_the_clear(
    mails: Callable[..., Configuration], keys: Path
) -> None:
    with mailbox(keys) as box:
        configuration = mails(box.port, SIGN_IN)
        alarms, wording = configuration.settings.alarms, wording_of(configuration)
        assert by_mail(alarms, notice(), wording) is None
    (mail,) = box.mails
    assert mail["Subject"] == "[DICOMNODE] Alarm: PACS has not taken some results"
    assert mail["To"] == "pacs@hospital.example, night@hospital.example"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert "What to do: `dicom-node outbox` says why" in mail.get_content()
    assert any("AUTH" in line for line in box.said)
    assert all(line.startswith("(TLS)") for line in box.said if "AUTH" in line)


def test_a_server_without_starttls_gets_nothing_in_the_clear(
    mails: Callable[..., Configuration],
) -> None:
    with mailbox() as box:
        configuration = mails(box.port, SIGN_IN)
        untold = by_mail(configuration.settings.alarms, notice(), wording_of(configuration))
    assert untold is not None
    assert "smtp_security" in untold.remedy
    assert box.mails == []
    assert not any("AUTH" in line or "MAIL" in line for line in box.said)


def test_a_server_of_another_authority_gets_nothing(
    mails: Callable[..., Configuration], keys: Path
) -> None:
    with mailbox(keys) as box:
        configuration = mails(box.port)
        foreign = {"smtp_ca": keys / "elsewhere.pem"}
        alarms = configuration.settings.alarms.model_copy(update=foreign)
        untold = by_mail(alarms, notice(), wording_of(configuration))
    assert untold is not None
    assert box.mails == []


@pytest.mark.parametrize(("answer", "final"), [("550 no", True), ("451 later", False)])
def test_a_mail_server_that_does_not_take_it_is_told(
    mails: Callable[..., Configuration], answer: str, final: bool
) -> None:
    with mailbox() as box:
        box.answers["MAIL"] = answer
        configuration = mails(box.port, security="none")
        untold = by_mail(configuration.settings.alarms, notice(), wording_of(configuration))
    assert untold is not None
    assert (untold.reason, untold.final) == (f"SMTP status {answer[:3]}", final)


# Commands


def test_a_test_goes_by_every_channel_and_says_which_took_it(
    mails: Callable[..., Configuration], tmp_path: Path
) -> None:
    with webhook() as hook, mailbox() as box:
        text = f'webhook = "{hook.address}"\n'
        configuration = mails(box.port, text, security="none")
        done = CliRunner().invoke(app, ["alarms", "test", "--config", str(configuration.folder)])
        assert (done.exit_code, done.stdout) == (0, "webhook: taken\nmail: taken\n")
        hook.status = 500
        done = CliRunner().invoke(
            app, ["alarms", "test", "--json", "--config", str(configuration.folder)]
        )
    assert done.exit_code == 1
    assert json.loads(done.stdout)["webhook"]["reason"] == "HTTP status 500"
    assert hook.documents[0]["alarm"] == "test"
    assert "nothing is wrong" in box.mails[0].get_content()


def test_a_test_without_a_channel_says_what_to_write(tmp_path: Path) -> None:
    site(tmp_path)
    done = CliRunner().invoke(app, ["alarms", "test", "--config", str(tmp_path)])
    assert done.exit_code == 1
    assert "alarms.webhook" in done.stdout


def test_alarms_are_listed_and_told_by_health(ward: Ward) -> None:
    refused(ward)
    ward.look()
    where = ["--config", str(ward.configuration.folder), "--data-dir"]
    where.append(str(ward.configuration.data_dir))
    listed = CliRunner().invoke(app, ["alarms", *where])
    assert "PACS has not taken some results. 1 results for PACS were refused" in listed.stdout
    told = json.loads(CliRunner().invoke(app, ["alarms", "list", "--json", *where]).stdout)
    assert [(each["alarm"], each["until"]) for each in told["alarms"]] == [("parked", None)]
    health = json.loads(CliRunner().invoke(app, ["health", "--json", *where]).stdout)
    assert [(each["alarm"], each["subject"]) for each in health["alarms"]] == [("parked", "PACS")]
    assert "PACS has not taken" in CliRunner().invoke(app, ["health", *where]).stdout


# Settings


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('mail_to = ["a@b.c"]', "alarms.mail_from"),
        ('mail_to = ["nobody"]', "is no e-mail address"),
        ('webhook = "ftp://x"', "alarms.webhook"),
        ('webhook_token = "token"', "no webhook that gets it"),
        ('webhook = "http://10.0.0.5/x"\nwebhook_token = "token"', "is not https"),
        ('smtp_user = "node"', "smtp_user and smtp_password belong together"),
        (
            'smtp_host = "mail"\nsmtp_security = "none"\nsmtp_user = "n"\nsmtp_password = "token"',
            "in the clear",
        ),
    ],
)
def test_a_fault_in_how_people_are_told_is_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "token").write_text("secret", "utf-8")
    (tmp_path / "token").chmod(0o600)
    with pytest.raises(SettingsError) as found:
        site(tmp_path, f"[alarms]\n{text}\n")
    assert said in " ".join(found.value.faults)


def test_a_password_that_others_may_read_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret", "utf-8")
    (tmp_path / "password").chmod(0o644)
    with pytest.raises(SettingsError, match="can be read by other users"):
        site(tmp_path, '[alarms]\nsmtp_user = "n"\nsmtp_password = "password"\n')


def test_the_address_of_a_webhook_is_shown_to_nobody(tmp_path: Path) -> None:
    site(tmp_path, '[alarms]\nwebhook = "https://chat.example/hooks/s3cr3t"\n')
    for more in ([], ["--json"]):
        done = CliRunner().invoke(app, ["config", "show", "--config", str(tmp_path), *more])
        assert done.exit_code == 0
        assert "s3cr3t" not in done.stdout
    assert "(masked)" in done.stdout


def test_the_monitor_s_port_is_nobody_else_s(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"monitor\.port: 8080 is web\.port as well"):
        site(tmp_path, "[monitor]\nport = 8080\n")


def test_the_shipped_site_tells_nobody() -> None:
    shipped = load_configuration(resources.default_configuration())
    assert shipped.settings.alarms.channels == ()
    assert (resources.default_configuration() / "alarms.toml").is_file()
