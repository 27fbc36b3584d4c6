-- How many rows are in each state, kept by triggers: counting millions anew for every page, poll and
-- report would take longer than all else that these do. Deliveries are counted by destination, and
-- by what they are told as: refused because nobody has a use for it is no error, and what is held
-- does not wait for the network.
-- Each trigger is one statement to who reads this file: it ends in "end;".

alter table deliveries add column told_as text as (
    case when not_accepted then 'not_accepted'
         when held is not null and state = 'waiting' then 'held'
         else state end
);

create table tallies (
    thing        text not null,
    destination  text not null default '',
    state        text not null,
    number       integer not null,
    primary key (thing, destination, state)
) strict, without rowid;

insert into tallies select 'instances', '', state, count(*) from instances group by state;
insert into tallies select 'studies', '', state, count(*) from studies group by state;
insert into tallies select 'deliveries', destination, told_as, count(*) from deliveries
    group by destination, told_as;

create trigger tally_of_instances_insert after insert on instances
begin insert into tallies values ('instances', '', new.state, 1)
          on conflict do update set number = number + 1; end;
create trigger tally_of_instances_delete after delete on instances
begin update tallies set number = number - 1
          where thing = 'instances' and destination = '' and state = old.state; end;
create trigger tally_of_instances_update after update of state on instances
when old.state <> new.state
begin update tallies set number = number - 1
          where thing = 'instances' and destination = '' and state = old.state; insert
      into tallies values ('instances', '', new.state, 1)
          on conflict do update set number = number + 1; end;

create trigger tally_of_studies_insert after insert on studies
begin insert into tallies values ('studies', '', new.state, 1)
          on conflict do update set number = number + 1; end;
create trigger tally_of_studies_delete after delete on studies
begin update tallies set number = number - 1
          where thing = 'studies' and destination = '' and state = old.state; end;
create trigger tally_of_studies_update after update of state on studies
when old.state <> new.state
begin update tallies set number = number - 1
          where thing = 'studies' and destination = '' and state = old.state; insert
      into tallies values ('studies', '', new.state, 1)
          on conflict do update set number = number + 1; end;

create trigger tally_of_deliveries_insert after insert on deliveries
begin insert into tallies values ('deliveries', new.destination, new.told_as, 1)
          on conflict do update set number = number + 1; end;
create trigger tally_of_deliveries_delete after delete on deliveries
begin update tallies set number = number - 1 where thing = 'deliveries'
          and destination = old.destination and state = old.told_as; end;
create trigger tally_of_deliveries_update after update of state, held, not_accepted on deliveries
when old.told_as <> new.told_as
begin update tallies set number = number - 1 where thing = 'deliveries'
          and destination = old.destination and state = old.told_as; insert
      into tallies values ('deliveries', new.destination, new.told_as, 1)
          on conflict do update set number = number + 1; end;
