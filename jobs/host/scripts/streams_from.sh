# shellcheck shell=sh
# Whether its receiver streams, and from whom. One that is refused is begun again each second
# (`wal_retrieve_retry_interval`), and streams for a moment: it has to be the same for longer.

p=$(sql -c "select pid from pg_stat_wal_receiver where status = 'streaming'" </dev/null)
[ -z "$p" ] || sleep 1.2
sql -v pid="${p:-0}" <<'SQL' || exit 1
select coalesce((
    select case when status <> 'streaming' or pid = :pid then status || ' from ' || sender_host
        else 'no receiver that stays' end
    from pg_stat_wal_receiver), 'no receiver')
SQL
