-- How drover proves to a resource who it is. What was adopted before goes on as it did; whoever
-- adopts it anew has what is asked for then.
alter table resources add column require_auth text not null default 'any'
    check (require_auth in ('scram-sha-256', 'any'));
update resources r set require_auth = 'scram-sha-256'
from subjects s where s.id = r.id and s.origin = 'created';
alter table resources alter column require_auth set default 'scram-sha-256';
