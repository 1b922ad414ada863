-- The name of an operation's step is its place: `step_name` is the step that is next or
-- at work, `step` its number for people. Until now the number was the place, and the
-- name that of the step begun last.
update operations o
set step_name = names.steps[o.step + 1],
    -- only what was seen from now on speaks of a step that has not begun
    step_since = now()
from (values
         ('create_server', '{keys,look,ask,await_address,await_ssh,volume,install,enter,first_look}'::text[]),
         ('create_resource', '{await_server,cluster,certificate,start,roles,names,enter,first_look}'::text[]),
         ('create_follower', '{await_server,await_leader,slot,backup,certificate,start,enter,first_look,names}'::text[]),
         ('unfollow', '{promote,part,slot,names}'::text[]),
         ('switchover', '{choose,names,checkpoint,stop,catch_up,promote,swap,repoint,follow,start,tidy,await_available}'::text[]),
         ('failover', '{choose,fence,promote,swap,repoint,conclude}'::text[]),
         ('rebuild', '{stop,follow,rewind,copy,start,tidy,stream,await_available}'::text[]),
         ('set_durability', '{look,set,write_down,compare}'::text[]),
         ('gameday', '{act}'::text[]),
         ('destroy_server', '{terminate,await_gone,volumes,leave}'::text[]),
         ('destroy_resource', '{drop,slot,names,leave}'::text[]),
         ('resize', '{mark,hand_over,stop,set_size,start,await_running,await_available,conclude}'::text[]),
         ('grow', '{grow,extend}'::text[]),
         ('restart', '{mark,restart,await_available}'::text[]),
         ('reboot', '{mark,hand_over,reboot,await_boot,await_available}'::text[]),
         ('stop_start', '{mark,hand_over,stop,start,await_running,await_available}'::text[]),
         ('rotate_password', '{set}'::text[]),
         ('reconcile', '{compare}'::text[])
     ) names (kind, steps)
where o.state = 'open' and o.kind = names.kind and o.step_name <> 'queued'
  and o.step < cardinality(names.steps)
  and o.step_name <> names.steps[o.step + 1];
