# shellcheck shell=sh disable=SC2154  # v, c, d: cluster.sh; slot: follow_arguments.sh; j, job: background.sh
# Copies the leader anew, at most $6 MiB a second; $5 is the name of the job. What was begun
# is begun anew.

! alive || { echo "cluster $v/$c runs"; exit 1; }
rate=$6

copy() {
  as_owner find "$d" -mindepth 1 -delete
  # Under a name of its own: what confirms WAL in the follower's would stand for its disk.
  # shellcheck disable=SC2046  # an option, or none
  as_owner "/usr/lib/postgresql/$v/bin/pg_basebackup" -d "$(conninfo drover_copy)" \
    -D "$d" -X stream -S "$slot" -c fast -P -r "${rate}M" $(no_sync)
  be_standby
}
background "$5" copy

is_standby || { echo "cluster $v/$c would lead"; exit 1; }
rm -f -- "$j/$job.log" "$j/$job.lock"
echo "cluster $v/$c is a copy of its leader"
