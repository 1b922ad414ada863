-- A server obeys only the newest word. What a word says, beside the epoch and the number of
-- the lease, is whose it is.

create table deployment (
    -- there is one
    one boolean primary key default true check (one),
    -- a ULID
    id text not null
);
insert into deployment (id)
select left('0' || string_agg(substr('0123456789ABCDEFGHJKMNPQRSTVWXYZ',
                                     1 + floor(random() * 32)::int, 1), ''), 26)
from generate_series(1, 26);

alter table subjects
    -- tells the lease of this number from one of the same number in a copy of this database
    add column lock_nonce text not null default '0',
    -- what its server keeps its words under, once it has obeyed one
    add column word_key text;

-- Which operation raised the epoch; null: it is as it began.
alter table resources add column epoch_by text references operations (id);
-- Followers that were made later had begun at the first.
update resources r set epoch = l.epoch
from resources l where l.id = r.leader_id and r.epoch <> l.epoch;
update resources r
set epoch_by = (select c.operation_id from leader_changes c
                where c.new_leader_id = coalesce(r.leader_id, r.id) and c.epoch = r.epoch
                order by c.seq desc limit 1)
where r.epoch > 1;
