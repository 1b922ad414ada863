-- Which clock leads, and until when: one that is frozen, or cut off, leads no longer than it said.
create table clock_lead (
    one boolean primary key default true check (one),
    holder text not null,
    leads_until timestamptz not null
);
