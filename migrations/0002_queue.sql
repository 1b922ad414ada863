-- How apalis's queue table is stored when every token in it is rewritten four
-- times a lap: room on each page for the next version of its rows, and an
-- autovacuum that comes early and does not dawdle. The clock vacuums besides.
alter table apalis.jobs set (
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 500,
    autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0.2
);
alter table apalis.workers set (
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0.1,
    autovacuum_vacuum_threshold = 100
);
