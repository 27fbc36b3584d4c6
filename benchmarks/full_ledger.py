"""A ledger that holds very many films, made in seconds: what others measure against.

Written straight into the tables, without waiting for the disk and with the indices made last. Two
films a study, four studies a patient, one report a study; a hundredth waits for a dead PACS.
"""

from __future__ import annotations

from pathlib import Path

from sqlite_utils.utils import sqlite3

from dicom_node.ledger import open_ledger

_UID = "'1.2.826.0.1.3680043.8.498.' || abs(random()) || abs(random() % 1000000000)"
_DIGEST = "lower(hex(randomblob(32)))"
_AT = "strftime('%Y-%m-%dT%H:%M:%f000+00:00', 1577836800 + 15 * {number}, 'unixepoch')"
_KEY = "printf('%032x%032x', ({study} / 4) * 2654435761 % 4294967296, {study} / 4)"
_NUMBERS = """with recursive numbers (n) as
    (select 1 union all select n + 1 from numbers where n < :rows)"""

_STUDIES = f"""
insert into studies (id, study_instance_uid, state, opened_at, changed_at, revision, signature)
{_NUMBERS} select n, {_UID}, 'reported', {_AT.format(number="n")}, {_AT.format(number="n")}, 1, 's'
from numbers
"""
_FILMS = f"""
insert into instances (id, study_id, sop_instance_uid, sop_class_uid, transfer_syntax_uid,
    series_instance_uid, digest, size_bytes, state, received_at, view, findings_json,
    saliency_digest, patient_key, severity)
{_NUMBERS} select n, (n + 1) / 2, {_UID}, '1.2.840.10008.5.1.4.1.1.1.1', '1.2.840.10008.1.2.1',
    {_UID}, {_DIGEST}, 8000000, 'analysed', {_AT.format(number="(n + 1) / 2")}, 'PA', '{{}}',
    {_DIGEST}, {_KEY.format(study="((n + 1) / 2)")}, abs(random() % 1800) / 100.0
from numbers
"""
_ORIGINS = """
insert into origins (instance_id, study_id, calling_ae_title, called_ae_title, peer_address,
    first_at)
select id, study_id, 'PACS' || (id % 5), 'DICOMNODE', '10.0.0.' || (id % 5), received_at
from instances where id <= :rows
"""
_RESULTS = f"""
insert into results (study_id, revision, group_key, kind, sop_instance_uid, sop_class_uid,
    series_instance_uid, digest, size_bytes, written_at)
{_NUMBERS} select n, 1, 'sr:' || n, 'sr', {_UID}, '1.2.840.10008.5.1.4.1.1.88.33', {_UID},
    {_DIGEST}, 40000, {_AT.format(number="n")} from numbers
"""
_DELIVERIES = f"""
insert into deliveries (study_id, group_key, kind, destination, state, created_at,
    next_attempt_at, expires_at, sent_at)
{_NUMBERS} select n, 'sr:' || n, 'sr', case when n % 100 then 'PACS' || (n % 5) else 'DEADPACS' end,
    case when n % 100 then 'sent' else 'waiting' end, {_AT.format(number="n")},
    {_AT.format(number="n")}, '2099-01-01T00:00:00.000000+00:00',
    case when n % 100 then {_AT.format(number="n")} end
from numbers
"""
_EVENTS = """
insert into events (at, what, who, instance_id, study_id)
select received_at, 'instance.' || what, 'w', id, study_id from instances,
    (select 'received' as what union all select 'admitted' union all select 'analysed')
where id <= :rows
"""
_STUDY_EVENTS = f"""
insert into events (at, what, who, study_id, delivery_id)
{_NUMBERS} select {_AT.format(number="n")}, what, 'w', n, case when what like 'd%' then n end
from numbers, (select 'study.quiet' as what union all select 'study.reported'
    union all select 'delivery.waiting' union all select 'delivery.sent')
"""
_CASES = f"""
insert into cases (study_id, described, patient_name, patient_id, patient_birth_date,
    accession_number, study_date, received_at, state, films, outcome, sender, finding, probability,
    severity, delivery)
{_NUMBERS} select n, 1, 'DOE' || (n % 1009) || '^JANE', 'ID' || (n / 4), '19500101', 'A' || n,
    strftime('%Y%m%d', 1577836800 + 15 * n, 'unixepoch'), {_AT.format(number="n")}, 'reported', 2,
    case when n % 997 then 'analysed' else 'failed' end, 'PACS' || (n % 5),
    case n % 3 when 0 then 'normal' when 1 then 'pneumonia' else 'covid19' end,
    abs(random() % 1000) / 1000.0, abs(random() % 1800) / 100.0,
    case when n % 100 then 'sent' else 'waiting' end
from numbers
"""
_WORDS = """
insert into case_words (rowid, words)
select study_id, patient_name || ' ' || patient_id || ' ' || accession_number from cases
where study_id <= :rows
"""
_FACTS = "update facts set told = :told"
_TOLD = '{"StudyDate": "20200101", "Modality": "DX", "Rows": 2048}' + " " * 400


def make(path: Path, films: int) -> None:
    """Make a ledger at ``path`` that holds so many films (an even number)."""
    open_ledger(path, who="benchmark").close()
    database = sqlite3.connect(path, isolation_level=None)
    for pragma in ("journal_mode=memory", "synchronous=off", "cache_size=-800000"):
        database.execute(f"pragma {pragma}")
    database.execute("begin")
    indices = database.execute(
        "select name, sql from sqlite_master where type = 'index' and sql is not null"
    ).fetchall()
    for name, _ in indices:
        database.execute(f"drop index {name}")
    studies = films // 2
    for statement, rows in (
        (_STUDIES, studies), (_FILMS, films), (_ORIGINS, films), (_RESULTS, studies),
        (_DELIVERIES, studies), (_EVENTS, films), (_STUDY_EVENTS, studies), (_CASES, studies),
        (_WORDS, studies),
    ):  # fmt: skip
        database.execute(statement, {"rows": rows})
    database.execute(_FACTS, {"told": _TOLD})
    database.execute("insert into peers (ae_title, last_received_at) select distinct"
                     " calling_ae_title, max(first_at) from origins group by 1")  # fmt: skip
    for _, sql in indices:
        database.execute(sql)
    database.execute("commit")
    database.execute("pragma journal_mode=wal")
    database.close()
