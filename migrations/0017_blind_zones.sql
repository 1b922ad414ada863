-- Too much may fail at once in a zone alone: `blind` is that zone's then, and a human's word
-- about it is about no other.

-- null: the herd's, or its subject's
alter table incidents add column zone text check (zone is null or subject_id is null);

drop index incidents_open;
create unique index incidents_open on incidents (coalesce(subject_id, 'zone ' || zone, ''), kind)
    where state <> 'resolved';
drop index incidents_last;
create index incidents_last
    on incidents (coalesce(subject_id, 'zone ' || zone, ''), kind, resolved_at desc);
