-- Game days: what was broken on purpose, and what is to be taken back.

create table gamedays (
    -- the operation that broke it, which says who asked and why
    operation_id text primary key references operations (id),
    subject_id text not null references subjects (id),
    how text not null check (how in ('kill', 'unplug', 'partition', 'fill', 'freeze')),
    -- after how long it is taken back; null: drover has to mend it
    for_s int check (for_s between 1 and 3600),
    -- the moment before it was broken; written before, so that no worker's successor
    -- breaks it twice
    broken_at timestamptz,
    -- why it was not broken, if so
    problem text,
    -- from when on it is to be taken back, and when it was
    heal_at timestamptz,
    healed_at timestamptz,
    check (healed_at is null or broken_at is not null)
);
create index gamedays_subject on gamedays (subject_id, operation_id desc);
create index gamedays_to_heal on gamedays (heal_at) where heal_at is not null and healed_at is null;
