//! What is run on the node's own server. Each is fixed text; the arguments are the
//! leader's host (`$2`) and port (`$3`), the node's slot there (`$4`), and the name of the
//! job (`$5`). The password and the certificate are where `follow` has put them.

use super::super::failover::Lsn;

/// Rewinds the cluster. It is not to start as a leader meanwhile: nobody is let in
/// (`pg_hba.conf`), and it does not start by itself. PostgreSQL's own recovery comes
/// first, since only what was shut down in good order can be rewound.
pub(super) const REWIND: &str = r##"r=${PG_CLUSTER_CONF_ROOT:-/etc/postgresql}/$v/$c
[ -z "$(alive)" ] || { echo "cluster $v/$c runs"; exit 1; }
background "$5" '
  v=$1 d=$2 conf=$3 host=$4 port=$5 slot=$6 local=$7
  b=/usr/lib/postgresql/$v/bin
  owner=$(if [ -n "$local" ]; then stat -c %U "$d"; else sudo -n stat -c %U "$d"; fi)
  o() { if [ -n "$local" ]; then "$@"; else sudo -n -u "$owner" -- "$@"; fi; }
  cd /
  trap "o touch \"$d/standby.signal\"" EXIT
  told() { o "$b/pg_controldata" "$d" | sed -n "s/^$1: *//p"; }
  end=$(o timeout 20 "$b/pg_waldump" -p "$d/pg_wal" -t "$(told "Latest checkpoint.s TimeLineID")" \
    -s "$(told "Latest checkpoint.s REDO location")" 2>/dev/null |
    sed -n "s/^.*len (rec\/tot): *[0-9]*\/ *\([0-9]*\),.* lsn: \([0-9A-F/]*\),.*$/\2 \1/p" | tail -n 1)
  [ -z "$end" ] || echo "end $end"
  case $(told "Database cluster state") in
    "shut down"*) ;;
    *)
      o rm -f -- "$d/standby.signal"
      o timeout 900 "$b/postgres" --single -F -D "$d" -c config_file="$conf/postgresql.conf" template1 </dev/null >/dev/null || exit 1;;
  esac
  how="host=$host port=$port user=drover_replication dbname=postgres sslmode=verify-full sslrootcert=$conf/leader.crt passfile=$conf/replication.pass application_name=$slot connect_timeout=5"
  o timeout 3600 "$b/pg_rewind" -D "$d" --source-server="$how" ${local:+--no-sync} || exit 1
' "$v" "$d" "$r" "$2" "$3" "$4" "${DROVER_CREATECLUSTER:+yes}"
"##;

/// What the job has found out: `end LSN LENGTH` of its last record, `parted LSN`.
pub(super) const PARTED: &str = r#"as_root test -e "$d/standby.signal" || { echo "cluster $v/$c would lead"; exit 1; }
sed -n 's/^end /end /p; s/^.*diverged at WAL location \([0-9A-F/]*\) .*$/parted \1/p' "$j/$job.log"
rm -f -- "$j/$job.log" "$j/$job.lock"
echo "cluster $v/$c is rewound to its leader"
"#;

/// Copies the leader anew, at most `$6` MiB a second. What was begun is begun anew. Under
/// a name of its own: what confirms WAL in the follower's would stand for its disk.
pub(super) const COPY: &str = r##"r=${PG_CLUSTER_CONF_ROOT:-/etc/postgresql}/$v/$c
[ -z "$(alive)" ] || { echo "cluster $v/$c runs"; exit 1; }
background "$5" '
  set -e
  v=$1 d=$2 conf=$3 host=$4 port=$5 slot=$6 rate=$7 local=$8
  owner=$(if [ -n "$local" ]; then stat -c %U "$d"; else sudo -n stat -c %U "$d"; fi)
  o() { if [ -n "$local" ]; then "$@"; else sudo -n -u "$owner" -- "$@"; fi; }
  cd /
  o find "$d" -mindepth 1 -delete
  how="host=$host port=$port user=drover_replication sslmode=verify-full sslrootcert=$conf/leader.crt passfile=$conf/replication.pass application_name=drover_copy connect_timeout=5"
  o "/usr/lib/postgresql/$v/bin/pg_basebackup" -d "$how" -D "$d" -X stream -S "$slot" -c fast \
    -r "${rate}M" ${local:+--no-sync}
  o touch "$d/standby.signal"
' "$v" "$d" "$r" "$2" "$3" "$4" "$6" "${DROVER_CREATECLUSTER:+yes}"
as_root test -e "$d/standby.signal" || { echo "cluster $v/$c would lead"; exit 1; }
rm -f -- "$j/$job.log" "$j/$job.lock"
echo "cluster $v/$c is a copy of its leader"
"##;

/// Bytes of WAL behind the place where it parted from its leader, by what
/// [`PARTED`] has printed; `None`: they did not part, or nobody can tell.
pub(super) fn lost(said: &str) -> Option<u64> {
    let word = |name: &str| {
        let line = said.lines().find(|line| line.starts_with(name))?;
        Some(line.split_whitespace().skip(1).collect::<Vec<_>>())
    };
    let parted: Lsn = word("parted")?.first()?.parse().ok()?;
    let end = word("end")?;
    let last: Lsn = end.first()?.parse().ok()?;
    let length: u64 = end.get(1)?.parse().ok()?;
    // Records begin at multiples of eight bytes.
    let end = last.0 + length.next_multiple_of(8);
    Some(end.saturating_sub(parted.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_lost_is_counted_from_the_fork_to_the_last_record() {
        let said = "end 0/5000148 114\nparted 0/5000100\ncluster 15/x is rewound";
        assert_eq!(lost(said), Some(0x48 + 120));
        assert_eq!(lost("end 0/5000148 114\ncluster 15/x is rewound"), None);
        assert_eq!(lost("parted 0/5000100"), None);
        assert_eq!(lost("end 0/5000000 10\nparted 0/5000100"), Some(0));
    }
}
