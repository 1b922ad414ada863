# shellcheck shell=sh disable=SC2154  # v, c, d: prelude/cluster.sh; j, job: prelude/background.sh
# What rewind.sh has found out: `end LSN LENGTH` of its last record, `parted LSN`.

as_root test -e "$d/standby.signal" || { echo "cluster $v/$c would lead"; exit 1; }
sed -n 's/^end /end /p; s/^.*diverged at WAL location \([0-9A-F/]*\) .*$/parted \1/p' "$j/$job.log"
rm -f -- "$j/$job.log" "$j/$job.lock"
echo "cluster $v/$c is rewound to its leader"
