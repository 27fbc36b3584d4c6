-- What declared bundles say of a case in the list: a narrow table, one row a headline, so that the
-- list is sorted and filtered by any of them without a column of its own.
-- received_at: that of the case, so that what is filtered is found in the order of the list.

alter table instances add column headlines text;

create table observations (
    study_id     integer not null references studies (id),
    network      text not null,
    key          text not null,
    number       real not null,
    text         text not null default '',
    found        integer not null,
    received_at  text not null,
    primary key (study_id, network, key)
) strict, without rowid;
create index observations_by_number on observations (network, key, found, number, study_id);
create index observations_by_time on observations
    (network, key, received_at, study_id, found, number);
create index observations_found on observations
    (network, key, received_at, study_id, number) where found = 1;

-- Outlives its study, as feedback does. answer_…: what the network had said.
create table feedback_observations (
    study_id            integer not null,
    study_instance_uid  text not null,
    sop_instance_uid    text not null,
    reader              text not null,
    network             text not null,
    key                 text not null,
    verdict             text not null,
    answer_number       real,
    answer_text         text,
    answer_found        integer,
    at                  text not null,
    primary key (sop_instance_uid, reader, network, key)
) strict, without rowid;
create index feedback_observations_by_study on feedback_observations (study_id);
