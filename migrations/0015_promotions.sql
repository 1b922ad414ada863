-- The highest number that a timeline of a leader and its followers was given, or may have been:
-- no two promotions bear the same. Null: drover has promoted none of them yet.
alter table resources add column newest_timeline bigint;
-- The timeline that a leader has begun when drover promoted it. What it took over from the one
-- before is surely at those of its followers alone that have come to it. Null: it led from the
-- start, or somebody else promoted it.
alter table resources add column timeline bigint;

-- Whether the commits of its leader may wait for this follower (`synchronous_standby_names`): from
-- before its name is set there until it is proved to be set no more. Only who is counted may hold
-- acknowledged commits that no other follower has.
alter table resources add column counted boolean not null default false;
update resources set counted = true where leader_id is not null and durability = 'sync';
